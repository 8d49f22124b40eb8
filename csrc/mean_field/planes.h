// Copies planes (labels, points), the layout of scores and marginals outside, to rows (points, width), and back.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "../common/simd.h"
#include "../common/tensor_view.h"
#include "../lattice/lattice.h"

namespace deeplab::mean_field {

// A block of points is copied together: a cache line of each plane.
using lattice::kBlock;

// Transposes four rows of four floats.
DEEPLAB_ALWAYS_INLINE void transpose(const float* const from[4], float* const to[4]) {
  const Float4 a = *reinterpret_cast<const LooseFloat4*>(from[0]), b = *reinterpret_cast<const LooseFloat4*>(from[1]);
  const Float4 c = *reinterpret_cast<const LooseFloat4*>(from[2]), d = *reinterpret_cast<const LooseFloat4*>(from[3]);
  const Float4 ab_low = DEEPLAB_SHUFFLE(a, b, 0, 4, 1, 5), ab_high = DEEPLAB_SHUFFLE(a, b, 2, 6, 3, 7);
  const Float4 cd_low = DEEPLAB_SHUFFLE(c, d, 0, 4, 1, 5), cd_high = DEEPLAB_SHUFFLE(c, d, 2, 6, 3, 7);
  *reinterpret_cast<LooseFloat4*>(to[0]) = DEEPLAB_SHUFFLE(ab_low, cd_low, 0, 1, 4, 5);
  *reinterpret_cast<LooseFloat4*>(to[1]) = DEEPLAB_SHUFFLE(ab_low, cd_low, 2, 3, 6, 7);
  *reinterpret_cast<LooseFloat4*>(to[2]) = DEEPLAB_SHUFFLE(ab_high, cd_high, 0, 1, 4, 5);
  *reinterpret_cast<LooseFloat4*>(to[3]) = DEEPLAB_SHUFFLE(ab_high, cd_high, 2, 3, 6, 7);
}

// rows = points [begin, begin + count) of planes (labels, points) of any strides, count at most kBlock. Lanes without a
// label are set like a label that is impossible everywhere.
inline void load_rows(const TensorView& planes, int64_t width, int64_t begin, int64_t count, float* rows) {
  constexpr float kNever = -std::numeric_limits<float>::infinity();
  static constexpr float kNowhere[4] = {kNever, kNever, kNever, kNever};
  const int64_t channels = planes.size(0), step = planes.stride(1);
  const float* first = planes.ptr<const float>() + begin * step;
  if (count < kBlock || width == 2 || step != 1) {
    for (int64_t i = 0; i < count; ++i) {
      for (int64_t c = 0; c < width; ++c) {
        rows[i * width + c] = c < channels ? first[c * planes.stride(0) + i * step] : kNever;
      }
    }
    return;
  }
  for (int64_t c = 0; c < width; c += 4) {
    for (int64_t i = 0; i < kBlock; i += 4) {
      const float* from[4];
      float* to[4];
      for (int k = 0; k < 4; ++k) {
        from[k] = c + k < channels ? first + (c + k) * planes.stride(0) + i : kNowhere;
        to[k] = rows + (i + k) * width + c;
      }
      transpose(from, to);
    }
  }
}

// The reverse: planes (channels, stride) = rows.
inline void store_rows(const float* rows, int64_t channels, int64_t width, int64_t begin, int64_t count, float* planes,
                       int64_t stride) {
  if (count < kBlock || width == 2) {
    for (int64_t c = 0; c < channels; ++c) {
      for (int64_t i = 0; i < count; ++i) planes[c * stride + begin + i] = rows[i * width + c];
    }
    return;
  }
  float nowhere[4];
  for (int64_t c = 0; c < channels; c += 4) {
    for (int64_t i = 0; i < kBlock; i += 4) {
      const float* from[4];
      float* to[4];
      for (int k = 0; k < 4; ++k) {
        from[k] = rows + (i + k) * width + c;
        to[k] = c + k < channels ? planes + (c + k) * stride + begin + i : nowhere;
      }
      transpose(from, to);
    }
  }
}

}  // namespace deeplab::mean_field
