// softmax of rows of floats, with fast_exp's bits, for the inner loop of the mean field.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "../common/simd.h"
#include "mean_field.h"

namespace deeplab::mean_field {

// x = fast_exp(-x) in every lane, x >= +0. A second implementation of fast_exp.h on purpose: its loop of conditional
// halvings suits a GPU's thread, reading the number of halvings from the exponent's bits suits vectors, and both give
// the same bits, which the original's marginals demand. Halving an argument n times until it is at most 0.69 lowers its
// exponent by n. That n is read from the bits, because positive floats are ordered as their bits are, and doubling adds
// one to the exponent.
template <typename L>
DEEPLAB_ALWAYS_INLINE void fast_exp_lanes(typename L::Float& x) {
  using Vector = typename L::Float;
  using Bits = typename L::Int;
  constexpr int32_t kExponentOne = 1 << 23;
  constexpr int32_t kBitsOf069 = 0x3f30a3d7;  // 0.69f
  const Bits vanishes = x > 20.f;
  Vector y = vanishes ? Vector{} + 20.f : x;
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

constexpr int kSoftmaxRows = 8;  // rows that softmax_rows processes together

// Softmax of rows of two floats, several in a vector: a row's other float is in the neighbouring lane.
template <typename L>
DEEPLAB_ALWAYS_INLINE void softmax_pairs(typename L::Float& x) {
  using Vector = typename L::Float;
  using Pair = typename L::Pair;
  const Pair halves = reinterpret_cast<Pair>(x);
  const Vector other = reinterpret_cast<Vector>((halves << 32) | (halves >> 32));
  x = (x > other ? x : other) + 0.f - x;  // + 0, because fast_exp_lanes takes no -0
  fast_exp_lanes<L>(x);
  const Pair powers = reinterpret_cast<Pair>(x);
  x = x / (x + reinterpret_cast<Vector>((powers << 32) | (powers >> 32)));
}

// Replaces each of kRows rows by its softmax, in place. A row has kWidth floats, a multiple of 4 (0: known at run time
// only). The sum runs over the labels in order, as the original's does: a chain of additions, of which several rows at
// a time keep the processor busy.
template <typename L, int kWidth, int kRows>
DEEPLAB_ALWAYS_INLINE void softmax_rows(float* rows, int64_t channels, int64_t runtime_width) {
  const int64_t width = kWidth ? kWidth : runtime_width;
  using Part = std::conditional_t<kWidth == 4 || kWidth == 0, Float4, Float8>;
  constexpr int kPart = sizeof(Part) / sizeof(float);
  for (int r = 0; r < kRows; ++r) {
    Part* row = reinterpret_cast<Part*>(rows + r * width);
    Part lanes = row[0];
    for (int64_t i = 1; i < width / kPart; ++i) lanes = row[i] > lanes ? row[i] : lanes;
    Float4 four;
    if constexpr (kPart == 8) {
      const Float4* halves = reinterpret_cast<const Float4*>(&lanes);
      four = halves[0] > halves[1] ? halves[0] : halves[1];
    } else {
      four = lanes;
    }
    const float largest = std::max(std::max(four[0], four[1]), std::max(four[2], four[3])) + 0.f;
    for (int64_t i = 0; i < width / kPart; ++i) row[i] = largest - row[i];
  }
  using Vector = typename L::Float;
  Vector* lanes = reinterpret_cast<Vector*>(rows);
  for (int64_t i = 0; i < kRows * width / L::kLanes; ++i) fast_exp_lanes<L>(lanes[i]);
  float sum[kRows] = {};
  for (int64_t c = 0; c < channels; ++c) {
    for (int r = 0; r < kRows; ++r) sum[r] += rows[r * width + c];
  }
  for (int r = 0; r < kRows; ++r) {
    Part* row = reinterpret_cast<Part*>(rows + r * width);
    for (int64_t i = 0; i < width / kPart; ++i) row[i] /= sum[r];
  }
}

// Softmax of rows [0, count) of more than two floats.
template <typename L, int kWidth>
DEEPLAB_ALWAYS_INLINE void softmax_range(float* rows, int64_t count, int64_t channels, int64_t runtime_width) {
  const int64_t width = kWidth ? kWidth : runtime_width;
  int64_t row = 0;
  for (; row + kSoftmaxRows <= count; row += kSoftmaxRows) {
    softmax_rows<L, kWidth, kSoftmaxRows>(rows + row * width, channels, width);
  }
  for (; row < count; ++row) softmax_rows<Lanes<4>, kWidth, 1>(rows + row * width, channels, width);
}

}  // namespace deeplab::mean_field
