// im2col and col2im with dilation (the paper's "hole algorithm", section 3.1): the input is read at every `dilation`-th
// pixel under the kernel.
//
// The rule (the original's util/im2col.cpp): the kernel covers kernel + (kernel - 1) * (dilation - 1) pixels, the
// output size is rounded DOWN, and tap t of output o reads input o * stride - pad + t * dilation, or zero outside. The
// columns of an image are (C * kernel_h * kernel_w, OH * OW), rows ordered by channel, then kernel row, then kernel
// column.
#pragma once

#include <cstdint>
#ifndef __CUDACC_RTC__
#include <array>
#endif

#include "../common/host_device.h"
#include "../common/nchw.h"

namespace deeplab::hole {

struct Geometry {
  Axis y, x;
};

inline int64_t output_size(int64_t in, int64_t kernel, int64_t pad, int64_t stride, int64_t dilation) {
  const int64_t room = in + 2 * pad - ((kernel - 1) * dilation + 1);
  return room < 0 ? 0 : room / stride + 1;
}

// Position that tap `tap` of output `index` reads; may lie outside [0, axis.in).
template <typename index_t>
DEEPLAB_HOST_DEVICE index_t source(const Axis& axis, index_t index, index_t tap) {
  return index * static_cast<index_t>(axis.stride) - static_cast<index_t>(axis.pad) +
         tap * static_cast<index_t>(axis.dilation);
}

// The inverse: the output whose tap `tap` reads input `index`, or -1 if there is none.
template <typename index_t>
DEEPLAB_HOST_DEVICE index_t reader(const Axis& axis, index_t index, index_t tap) {
  const index_t position = index + static_cast<index_t>(axis.pad) - tap * static_cast<index_t>(axis.dilation);
  const index_t stride = static_cast<index_t>(axis.stride);
  if (position < 0) return -1;
  const index_t output = position / stride;
  return output < static_cast<index_t>(axis.out) && output * stride == position ? output : index_t(-1);
}

// The outputs [begin, end) whose tap `tap` reads inside the input.
inline void inside(const Axis& axis, int64_t tap, int64_t& begin, int64_t& end) {
  const int64_t before = axis.pad - tap * axis.dilation;  // pixels by which output 0 reads left of the input
  const int64_t upto = before + axis.in;
  begin = before > 0 ? (before + axis.stride - 1) / axis.stride : 0;
  end = upto > 0 ? (upto + axis.stride - 1) / axis.stride : 0;
  end = end < axis.out ? end : axis.out;
  begin = begin < end ? begin : end;
}

#ifndef __CUDACC_RTC__

using Pair = std::array<int64_t, 2>;  // height, width

// Geometry of a kernel over an image (N, C, H, W). Throws if an argument is out of range or the kernel does not fit.
Geometry make_geometry(const char* operation, const TensorView& image, const Pair& kernel, const Pair& stride,
                       const Pair& pad, const Pair& dilation);

#endif

// input (N, C, H, W) any strides; columns (N, C * kernel_h * kernel_w, OH, OW) contiguous.
void im2col_cpu(const TensorView& input, const TensorView& columns, const Geometry& geometry);
void im2col_cuda(const TensorView& input, const TensorView& columns, const Geometry& geometry, uintptr_t stream);
// The exact adjoint: columns as above; output (N, C, H, W) contiguous, overwritten. Each pixel's sum runs over the
// kernel's rows, then columns, on every device: the original's order.
void col2im_cpu(const TensorView& columns, const TensorView& output, const Geometry& geometry);
void col2im_cuda(const TensorView& columns, const TensorView& output, const Geometry& geometry, uintptr_t stream);

}  // namespace deeplab::hole
