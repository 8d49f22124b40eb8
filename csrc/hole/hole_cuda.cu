#include <limits>

#include "../common/kernel_launch.h"
#include "hole.h"
#ifdef DEEPLAB_WITH_CUDA
#include "hole_kernels.cuh"
#endif

namespace deeplab::hole {
namespace {

constexpr const char* kSource = "hole/hole_kernels.cuh";

// Integer division is what these kernels spend their time on, and 64-bit division is several times slower. Besides the
// tensors, every position that the rule computes must fit: |o * stride - pad + t * hole| <= in + 2 * pad.
bool fits_32_bits(int64_t numel, const Geometry& geometry) {
  constexpr int64_t kLimit = std::numeric_limits<int32_t>::max() / 2;
  const auto reach = [](const Axis& axis) { return axis.in + 2 * axis.pad + axis.kernel * axis.hole; };
  return numel <= kLimit && reach(geometry.rows) <= kLimit && reach(geometry.columns) <= kLimit &&
         geometry.rows.stride <= kLimit && geometry.columns.stride <= kLimit;
}

template <typename Body>
void dispatch_index(bool narrow, Body&& body) {
  if (narrow) {
    body(int32_t{});
  } else {
    body(int64_t{});
  }
}

}  // namespace

void im2col_cuda(const TensorView& input, const TensorView& columns, const Geometry& geometry, uintptr_t stream) {
  const int64_t count = columns.numel();
  if (count == 0) return;
  dispatch_floating(input.dtype, "im2col", [&](auto zero) {
    using scalar_t = decltype(zero);
    dispatch_index(fits_32_bits(count, geometry), [&](auto index_zero) {
      using index_t = decltype(index_zero);
      launch_kernel(launch_over("im2col", input.device, stream, count),
                    DEEPLAB_KERNEL(kSource, deeplab::hole::im2col_kernel, scalar_t, index_t),
                    input.ptr<const scalar_t>(),
                    Strides{input.stride(0), input.stride(1), input.stride(2), input.stride(3)},
                    columns.ptr<scalar_t>(), count, static_cast<index_t>(input.size(1)), geometry);
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
