#include "../common/kernel_launch.h"
#include "interp.h"
#ifdef DEEPLAB_WITH_CUDA
#include "interp_kernels.cuh"
#endif

namespace deeplab::interp {
namespace {

constexpr const char* kSource = "interp/interp_kernels.cuh";

}  // namespace

void forward_cuda(const TensorView& input, const TensorView& output, int64_t crop, int64_t crop_end, bool align_corners,
                  uintptr_t stream) {
  if (output.numel() == 0) return;
  const int64_t count = output.size(0) * output.size(1) * strips(output.size(2)) * output.size(3);
  dispatch_floating(input.dtype, "interp", [&](auto zero) {
    using scalar_t = decltype(zero);
    const Strides strides = strides_of(input);
    dispatch_index(fits_32_bits(count), [&](auto index) {
      using index_t = decltype(index);
      launch_kernel(launch_over("interp forward", input.device, stream, count),
                    DEEPLAB_KERNEL(kSource, deeplab::interp::forward_kernel, scalar_t, index_t),
                    input.ptr<const scalar_t>() + crop * (strides.y + strides.x), strides, output.ptr<scalar_t>(),
                    count, static_cast<index_t>(input.size(1)),
                    make_axis(input.size(2) - crop - crop_end, output.size(2), align_corners),
                    make_axis(input.size(3) - crop - crop_end, output.size(3), align_corners));
    });
  });
}

void backward_cuda(const TensorView& grad_output, const TensorView& grad_input, int64_t crop, int64_t crop_end,
                   bool align_corners, uintptr_t stream) {
  const int64_t count = grad_input.numel();
  if (count == 0) return;
  dispatch_floating(grad_output.dtype, "interp backward", [&](auto zero) {
    using scalar_t = decltype(zero);
    launch_kernel(launch_over("interp backward", grad_input.device, stream, count),
                  DEEPLAB_KERNEL(kSource, deeplab::interp::backward_kernel, scalar_t),
                  grad_output.ptr<const scalar_t>(), grad_input.ptr<scalar_t>(), count, grad_input.size(2),
                  grad_input.size(3), crop,
                  make_axis(grad_input.size(2) - crop - crop_end, grad_output.size(2), align_corners),
                  make_axis(grad_input.size(3) - crop - crop_end, grad_output.size(3), align_corners));
  });
}

}  // namespace deeplab::interp
