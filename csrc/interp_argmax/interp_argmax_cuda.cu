#include "../common/kernel_launch.h"
#include "../interp/window_check.h"
#include "interp_argmax.h"
#ifdef DEEPLAB_WITH_CUDA
#include "interp_argmax_kernels.cuh"
#endif

namespace deeplab::interp_argmax {
namespace {

constexpr const char* kSource = "interp_argmax/interp_argmax_kernels.cuh";

}  // namespace

void labels_cuda(const TensorView& scores, const TensorView& labels, int64_t height, int64_t width,
                 const interp::Window& window, bool align_corners, bool last, uintptr_t stream) {
  if (labels.numel() == 0) return;
  const interp::ResizedAxis rows = interp::make_axis(scores.size(2), height, align_corners),
                            columns = interp::make_axis(scores.size(3), width, align_corners);
  const int64_t count = scores.size(0) * interp::strips(window.height) * window.width;
  dispatch_stored(scores.dtype, "interp_argmax", [&](auto stored) {
    argmax::dispatch_labels(labels.dtype, last, [&](auto ties, auto label) {
      using last_t = decltype(ties);
      using stored_t = decltype(stored);
      using label_t = decltype(label);
      launch_kernel(launch_over("interp_argmax", scores.device, stream, count),
                    DEEPLAB_KERNEL(kSource, deeplab::interp_argmax::labels_kernel, last_t, stored_t, label_t),
                    scores.ptr<const stored_t>(), strides_of(scores), scores.size(1), labels.ptr<label_t>(), count,
                    rows, columns, window);
    });
  });
}

}  // namespace deeplab::interp_argmax
