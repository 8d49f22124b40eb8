#include "../common/kernel_launch.h"
#include "hole.h"
#ifdef DEEPLAB_WITH_CUDA
#include "hole_kernels.cuh"
#endif

namespace deeplab::hole {
namespace {

constexpr const char* kSource = "hole/hole_kernels.cuh";

// Besides the number of threads, every position that the rule computes must fit:
// |o * stride - pad + t * dilation| <= in + 2 * pad.
bool fits_32_bits(int64_t count, const Geometry& geometry) {
  const auto fits = [](const Axis& axis) {
    return deeplab::fits_32_bits(axis.in + 2 * axis.pad + axis.kernel * axis.dilation) &&
           deeplab::fits_32_bits(axis.stride);
  };
  return deeplab::fits_32_bits(count) && fits(geometry.y) && fits(geometry.x);
}

}  // namespace

void im2col_cuda(const TensorView& input, const TensorView& columns, const Geometry& geometry, uintptr_t stream) {
  if (columns.numel() == 0) return;
  const int64_t count = columns.numel() / (geometry.y.kernel * geometry.x.kernel);
  dispatch_floating(input.dtype, "im2col", [&](auto zero) {
    using scalar_t = decltype(zero);
    dispatch_index(fits_32_bits(count, geometry), [&](auto index_zero) {
      using index_t = decltype(index_zero);
      launch_kernel(launch_over("im2col", input.device, stream, count),
                    DEEPLAB_KERNEL(kSource, deeplab::hole::im2col_kernel, scalar_t, index_t),
                    input.ptr<const scalar_t>(), strides_of(input), columns.ptr<scalar_t>(), count,
                    static_cast<index_t>(input.size(1)), geometry);
    });
  });
}

void col2im_cuda(const TensorView& columns, const TensorView& output, const Geometry& geometry, uintptr_t stream) {
  const int64_t count = output.numel();
  if (count == 0) return;
  dispatch_floating(output.dtype, "col2im", [&](auto zero) {
    using scalar_t = decltype(zero);
    dispatch_index(fits_32_bits(count, geometry), [&](auto index_zero) {
      using index_t = decltype(index_zero);
      launch_kernel(launch_over("col2im", output.device, stream, count),
                    DEEPLAB_KERNEL(kSource, deeplab::hole::col2im_kernel, scalar_t, index_t),
                    columns.ptr<const scalar_t>(), output.ptr<scalar_t>(), count, geometry);
    });
  });
}

}  // namespace deeplab::hole
