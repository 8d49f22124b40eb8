// softmax of rows of floats, with fast_exp's bits, for the inner loop of the mean field.
#pragma once

#include <algorithm>
#include <cstdint>

#include "../common/simd.h"
#include "mean_field.h"

namespace deeplab::mean_field {

// x = fast_exp(x) in every lane. Halving an argument until it is at most 0.69 takes its exponent down by as many: how
// many is read from its bits, because floats above zero are ordered as their bits are, and doubling adds one to the
// exponent.
template <typename Vector, typename Bits>
DEEPLAB_ALWAYS_INLINE void fast_exp_lanes(Vector& x) {
  constexpr int32_t kExponentOne = 1 << 23;
  constexpr int32_t kBitsOf069 = 0x3f30a3d7;  // 0.69f
  const Vector positive = 0.f - x;            // -x would be -0 for 0
  const Bits vanishes = positive > 20.f;
  Vector y = vanishes ? Vector{} + 20.f : positive;
  const Bits bits = reinterpret_cast<Bits>(y);
  Bits halvings = (bits - (kBitsOf069 + 1 - kExponentOne)) >> 23;
  halvings = halvings > 0 ? halvings : Bits{};
  y = reinterpret_cast<Vector>(bits - (halvings << 23));
  Vector power = 0.0013298820f - y * 0.0001413161f;
  power = 0.0083013598f - y * power;
  power = 0.0416573475f - y * power;
  power = 0.1666653019f - y * power;
  power = 0.4999999206f - y * power;
  power = 0.9999999995f - y * power;
  power = 1.f - y * power;
  power = halvings > 0 ? power * power : power;
  power = halvings > 1 ? power * power : power;
  power = halvings > 2 ? power * power : power;
  power = halvings > 3 ? power * power : power;
  power = halvings > 4 ? power * power : power;
  x = vanishes ? Vector{} : power;
}

// rows = softmax(row) each, in place, for kRows rows of kWidth floats (0: known at run time only). The sum runs over
// the labels in order, as the original's does: a chain of additions, of which several rows at a time keep the processor
// busy.
template <int kWidth, int kRows>
DEEPLAB_ALWAYS_INLINE void softmax_rows(float* rows, int64_t channels, int64_t runtime_width) {
  const int64_t width = kWidth ? kWidth : runtime_width;
  for (int r = 0; r < kRows; ++r) {
    Float4* row = reinterpret_cast<Float4*>(rows + r * width);
    Float4 lanes = row[0];
    for (int64_t i = 1; i < width / 4; ++i) lanes = row[i] > lanes ? row[i] : lanes;
    const float largest = std::max(std::max(lanes[0], lanes[1]), std::max(lanes[2], lanes[3]));
    for (int64_t i = 0; i < width / 4; ++i) row[i] -= largest;
  }
  if constexpr (kRows % 4 == 0) {
    Float16* lanes = reinterpret_cast<Float16*>(rows);
    for (int64_t i = 0; i < kRows * width / 16; ++i) fast_exp_lanes<Float16, Int16>(lanes[i]);
  } else {
    Float4* lanes = reinterpret_cast<Float4*>(rows);
    for (int64_t i = 0; i < kRows * width / 4; ++i) fast_exp_lanes<Float4, Int4>(lanes[i]);
  }
  float sum[kRows] = {};
  for (int64_t c = 0; c < channels; ++c) {
    for (int r = 0; r < kRows; ++r) sum[r] += rows[r * width + c];
  }
  for (int r = 0; r < kRows; ++r) {
    Float4* row = reinterpret_cast<Float4*>(rows + r * width);
    for (int64_t i = 0; i < width / 4; ++i) row[i] /= sum[r];
  }
}

}  // namespace deeplab::mean_field
