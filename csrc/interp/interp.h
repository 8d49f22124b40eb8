// Bilinear resizing with aligned corners, as DeepLab v1's INTERP layer does it, or with aligned edges, as torch does.
//
// The rule (the original's util/interp.cpp:20-84): position = ratio * index with ratio = (in - 1) / (out - 1) held in
// float whatever the dtype; the neighbour at the far edge is the edge itself; an output of one row takes row 0; equal
// sizes copy. Negative padding crops the input before any of this.
// Without align_corners pixels are squares: position = ratio * (index + 1/2) - 1/2 with ratio = in / out, and not below
// 0 (torch's area_pixel_compute_source_index).
#pragma once

#include <cstdint>

#include "../common/host_device.h"
#include "../common/nchw.h"

namespace deeplab::interp {

// One axis of the resize: `in` is the size after cropping.
struct ResizedAxis {
  int64_t in;
  int64_t out;
  float ratio;
  float centre;  // offset of a pixel's centre from its index: 0 or 1/2
};

inline ResizedAxis make_axis(int64_t in, int64_t out, bool align_corners) {
  if (!align_corners) return {in, out, static_cast<float>(in) / static_cast<float>(out), 0.5f};
  return {in, out, out > 1 ? static_cast<float>(in - 1) / static_cast<float>(out - 1) : 0.f, 0.f};
}

// The part of a resized image that is wanted: the rest is not computed.
struct Window {
  int64_t top, left, height, width;
};

// Rows of an output that a GPU's thread resizes at one column.
constexpr int kStripRows = 4;
DEEPLAB_HOST_DEVICE int64_t strips(int64_t rows) { return (rows + kStripRows - 1) / kStripRows; }

// The source values of output `index`: near * in[low] + far * in[high].
template <typename scalar_t>
struct Tap {
  int64_t low;
  int64_t high;
  scalar_t near;
  scalar_t far;
};

template <typename scalar_t>
DEEPLAB_HOST_DEVICE Tap<scalar_t> tap(const ResizedAxis& axis, int64_t index) {
  if (axis.in == axis.out) return {index, index, scalar_t(1), scalar_t(0)};
  const float centred = axis.ratio * (static_cast<float>(index) + axis.centre) - axis.centre;
  const float position = centred > 0.f ? centred : 0.f;
  const int64_t whole = static_cast<int64_t>(position), last = axis.in - 1;
  const scalar_t far = static_cast<scalar_t>(position - static_cast<float>(whole));
  // On an axis of millions of pixels float rounds the last positions to whole pixels, and up.
  const int64_t low = whole < last ? whole : last;
  return {low, low < last ? low + 1 : low, scalar_t(1) - far, far};
}

// First and one-past-last output index whose tap may touch input `index`; generous by one at each end, because the
// exact border depends on float rounding that only tap() knows.
DEEPLAB_HOST_DEVICE void touched_range(const ResizedAxis& axis, int64_t index, int64_t& begin, int64_t& end) {
  if (axis.ratio == 0.f) {
    begin = 0;
    end = axis.out;
    return;
  }
  begin = static_cast<int64_t>((static_cast<float>(index - 1) + axis.centre) / axis.ratio - axis.centre) - 1;
  end = static_cast<int64_t>((static_cast<float>(index + 1) + axis.centre) / axis.ratio - axis.centre) + 3;
  begin = begin < 0 ? 0 : begin;
  end = end > axis.out ? axis.out : end;
}

// Weight with which output `out_index` reads input `in_index`; 0 if it does not.
template <typename scalar_t>
DEEPLAB_HOST_DEVICE scalar_t tap_weight(const ResizedAxis& axis, int64_t out_index, int64_t in_index) {
  const Tap<scalar_t> t = tap<scalar_t>(axis, out_index);
  return (t.low == in_index ? t.near : scalar_t(0)) + (t.high == in_index ? t.far : scalar_t(0));
}

// input (N, C, H, W) any strides; output (N, C, OH, OW) contiguous; `crop` = -pad_beg rows and columns dropped at the
// top and left, `crop_end` = -pad_end at the bottom and right.
void forward_cpu(const TensorView& input, const TensorView& output, int64_t crop, int64_t crop_end, bool align_corners);
// The exact adjoint: grad_output (N, C, OH, OW) contiguous, grad_input (N, C, H, W) contiguous, overwritten.
void backward_cpu(const TensorView& grad_output, const TensorView& grad_input, int64_t crop, int64_t crop_end,
                  bool align_corners);
void forward_cuda(const TensorView& input, const TensorView& output, int64_t crop, int64_t crop_end, bool align_corners,
                  uintptr_t stream);
void backward_cuda(const TensorView& grad_output, const TensorView& grad_input, int64_t crop, int64_t crop_end,
                   bool align_corners, uintptr_t stream);

}  // namespace deeplab::interp
