#include "../common/kernel_launch.h"
#include "argmax.h"
#ifdef DEEPLAB_WITH_CUDA
#include "argmax_kernels.cuh"
#endif

namespace deeplab::argmax {
namespace {

constexpr const char* kSource = "argmax/argmax_kernels.cuh";

}  // namespace

void top_cuda(const TensorView& scores, const TensorView& output, int64_t top_k, uintptr_t stream) {
  if (output.numel() == 0) return;
  const int64_t plane = scores.size(2) * scores.size(3), pixels = scores.size(0) * plane;
  dispatch_floating(scores.dtype, "argmax", [&](auto zero) {
    using scalar_t = decltype(zero);
    launch_kernel(launch_over("argmax", scores.device, stream, pixels),
                  DEEPLAB_KERNEL(kSource, deeplab::argmax::top_kernel, scalar_t), scores.ptr<const scalar_t>(),
                  output.ptr<scalar_t>(), pixels, scores.size(1), plane, top_k, output.size(1));
  });
}

void labels_cuda(const TensorView& scores, const TensorView& labels, bool last, uintptr_t stream) {
  if (labels.numel() == 0) return;
  const int64_t plane = scores.size(2) * scores.size(3), pixels = scores.size(0) * plane;
  dispatch_floating(scores.dtype, "argmax_labels", [&](auto zero) {
    using scalar_t = decltype(zero);
    dispatch_labels(labels.dtype, last, [&](auto ties, auto label) {
      using last_t = decltype(ties);
      using label_t = decltype(label);
      launch_kernel(launch_over("argmax_labels", scores.device, stream, pixels),
                    DEEPLAB_KERNEL(kSource, deeplab::argmax::labels_kernel, last_t, scalar_t, label_t),
                    scores.ptr<const scalar_t>(), labels.ptr<label_t>(), pixels, scores.size(1), plane);
    });
  });
}

}  // namespace deeplab::argmax
