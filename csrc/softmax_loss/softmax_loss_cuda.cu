#include "../common/kernel_launch.h"
#include "problem.h"
#ifdef DEEPLAB_WITH_CUDA
#include "softmax_loss_kernels.cuh"
#endif

namespace deeplab::softmax_loss {
namespace {

constexpr const char* kSource = "softmax_loss/softmax_loss_kernels.cuh";

}  // namespace

void forward_cuda(const Problem& problem, const TensorView& workspace, const TensorView& loss, uintptr_t stream) {
  const int device = problem.scores.device;
  dispatch_floating(problem.scores.dtype, "softmax_loss", [&](auto zero) {
    using scalar_t = decltype(zero);
    const int64_t pixels = problem.pixels();
    Totals* partial = workspace.ptr<Totals>();
    if (pixels > 0) {
      launch_kernel(launch_over("softmax_loss forward", device, stream, pixels),
                    DEEPLAB_KERNEL(kSource, deeplab::softmax_loss::forward_kernel, scalar_t),
                    problem.scores.ptr<const scalar_t>(), problem.labels.ptr<const void>(), problem.labels.dtype,
                    problem.weights<scalar_t>(), problem.ignored, problem.stats.ptr<scalar_t>(), partial, pixels,
                    problem.channels(), problem.plane());
    }
    launch_kernel(launch_over("softmax_loss total", device, stream, 1),
                  DEEPLAB_KERNEL(kSource, deeplab::softmax_loss::combine_kernel, scalar_t),
                  static_cast<const Totals*>(partial), chunks_for(pixels), problem.totals.ptr<Totals>(),
                  loss.ptr<scalar_t>());
  });
}

void backward_cuda(const Problem& problem, const TensorView& grad_loss, const TensorView& grad_scores,
                   uintptr_t stream) {
  const int64_t count = grad_scores.numel();
  if (count == 0) return;
  dispatch_floating(problem.scores.dtype, "softmax_loss backward", [&](auto zero) {
    using scalar_t = decltype(zero);
    dispatch_index(fits_32_bits(count), [&](auto index) {
      using index_t = decltype(index);
      launch_kernel(launch_over("softmax_loss backward", problem.scores.device, stream, count),
                    DEEPLAB_KERNEL(kSource, deeplab::softmax_loss::backward_kernel, scalar_t, index_t),
                    problem.scores.ptr<const scalar_t>(), problem.labels.ptr<const void>(), problem.labels.dtype,
                    problem.weights<scalar_t>(), problem.ignored, problem.stats.ptr<const scalar_t>(),
                    problem.totals.ptr<const Totals>(), grad_loss.ptr<const scalar_t>(), grad_scores.ptr<scalar_t>(),
                    count, static_cast<index_t>(problem.channels()), static_cast<index_t>(problem.plane()));
    });
  });
}

}  // namespace deeplab::softmax_loss
