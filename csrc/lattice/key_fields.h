// How many bits each coordinate of a vertex key needs.
#pragma once

#include <array>
#include <cstdint>

#include "../common/tensor_view.h"
#include "lattice.h"

namespace deeplab::lattice {

constexpr int kMaxKeyBits = 128;

struct KeyFields {
  std::array<int32_t, kMaxDims> low;  // smallest value of each coordinate
  std::array<int, kMaxDims> width;    // bits
  int bits = 0;                       // of all together
};

struct Range {
  float low = 0.f;
  float high = 0.f;
};

// Fields wide enough for every vertex around features within these ranges, and for those vertices' neighbours. Throws
// std::invalid_argument for ranges that reach beyond kMaxCoordinate, or need more than kMaxKeyBits.
KeyFields key_fields(const std::array<Range, kMaxDims>& ranges, const float* scale, int dims);

// Fields wide enough for every vertex around the features, and around feature 0 too if `with_zero`, and for those
// vertices' neighbours. Throws std::invalid_argument as above, and for features that are not finite.
KeyFields key_fields(const TensorView& features, bool with_zero, const float* scale);

}  // namespace deeplab::lattice
