#include "../common/kernel_launch.h"
#include "../interp/window_check.h"
#include "interp_softmax.h"
#ifdef DEEPLAB_WITH_CUDA
#include "interp_softmax_kernels.cuh"
#endif

namespace deeplab::interp_softmax {
namespace {

constexpr const char* kSource = "interp_softmax/interp_softmax_kernels.cuh";

}  // namespace

void probabilities_cuda(const TensorView& scores, const TensorView& probabilities, int64_t height, int64_t width,
                        const interp::Window& window, bool align_corners, uintptr_t stream) {
  if (probabilities.numel() == 0) return;
  const interp::ResizedAxis rows = interp::make_axis(scores.size(2), height, align_corners),
                            columns = interp::make_axis(scores.size(3), width, align_corners);
  const int64_t channels = scores.size(1), count = scores.size(0) * window.height * window.width;
  dispatch_stored(scores.dtype, "interp_softmax", [&](auto stored) {
    using stored_t = decltype(stored);
    const auto run = [&](auto held) {
      using held_t = decltype(held);
      launch_kernel(launch_over("interp_softmax", scores.device, stream, count),
                    DEEPLAB_KERNEL(kSource, deeplab::interp_softmax::probabilities_kernel, held_t, stored_t),
                    scores.ptr<const stored_t>(), strides_of(scores), channels,
                    probabilities.ptr<compute_t<stored_t>>(), count, rows, columns, window);
    };
    if (channels <= MostHeld::value) {
      run(MostHeld{});
    } else {
      run(NoneHeld{});
    }
  });
}

}  // namespace deeplab::interp_softmax
