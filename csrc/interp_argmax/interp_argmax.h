// The label map of coarse scores: interp and argmax in one, without the C x H x W numbers in between.
//
// The rules, and so the bits, are those of interp.h and argmax.h. It is fast because interp's value, even when rounded,
// is a monotone function of its four source values: a channel that leads at all four corners of a cell by more than the
// rounding errors leads at every pixel of the cell, and no pixel of it has to be computed.
#pragma once

#include <cstdint>

#include "../argmax/argmax.h"
#include "../common/half.h"
#include "../interp/interp.h"

namespace deeplab::interp_argmax {

// The highest channel of one coarse pixel, ignoring NaN, and its lead over the next.
template <typename scalar_t>
struct Leader {
  scalar_t value;
  scalar_t gap;
  int32_t channel;
};

// Whether a channel that leads at the corners of a cell leads everywhere in it. A pixel's value has four rounding
// errors of 2^-24 of its largest corner, and so has its rival's: a lead of 2^-19 of it is more than they can make up
// for. The other bounds exclude overflow and numbers so small that they round to a fixed step.
template <typename scalar_t>
DEEPLAB_HOST_DEVICE bool leads_between(const Leader<scalar_t>& a, const Leader<scalar_t>& b, const Leader<scalar_t>& c,
                                       const Leader<scalar_t>& d) {
  constexpr scalar_t kRounding = scalar_t(0x1p-19), kLarge = scalar_t(0x1p120), kSmall = scalar_t(0x1p-100);
  if (a.channel != b.channel || a.channel != c.channel || a.channel != d.channel) return false;
  const scalar_t low = a.value < b.value ? a.value : b.value, high = a.value < b.value ? b.value : a.value;
  const scalar_t low2 = c.value < d.value ? c.value : d.value, high2 = c.value < d.value ? d.value : c.value;
  const scalar_t least = low < low2 ? low : low2, most = high > high2 ? high : high2;
  const scalar_t size = most > -least ? most : -least;
  const scalar_t needed = size * kRounding > kSmall ? size * kRounding : kSmall;
  return size < kLarge && a.gap > needed && b.gap > needed && c.gap > needed && d.gap > needed;
}

// scores (N, C, H, W), any strides, any floating dtype; 16-bit ones are widened to float. labels (N, window.height,
// window.width), uint8 or int64, contiguous. `height` and `width` are the resized image's; `last` as in argmax.h.
void labels_cpu(const TensorView& scores, const TensorView& labels, int64_t height, int64_t width,
                const interp::Window& window, bool align_corners, bool last);
void labels_cuda(const TensorView& scores, const TensorView& labels, int64_t height, int64_t width,
                 const interp::Window& window, bool align_corners, bool last, uintptr_t stream);

}  // namespace deeplab::interp_argmax
