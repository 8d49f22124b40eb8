// Passes along lines that are adjacent in memory, and transposing rows to such lines.
#pragma once

#include <cstdint>

#include "../common/simd.h"

namespace deeplab::domain_transform {

// A pass is serial along a line, so vector registers hold one element of each of several lines: columns as they are,
// rows transposed in blocks of kRows, (width, kRows), in a buffer that stays in the caches for both passes.
constexpr int64_t kRows = 32;
constexpr int64_t kColumns = 64;

// Interleaved lines: element i of line l is data[i * step + l].
template <typename T>
struct Lines {
  T* data;
  int64_t step;

  DEEPLAB_ALWAYS_INLINE T* operator[](int64_t i) const { return data + i * step; }
};

// Forward and back along each line: from the first to the last element, and back to the first.
template <typename scalar_t>
DEEPLAB_ALWAYS_INLINE void filter_lines(Lines<const scalar_t> x, Lines<const scalar_t> weights, Lines<scalar_t> y,
                                        int64_t length, int64_t lines) {
  for (int64_t l = 0; l < lines; ++l) y[0][l] = x[0][l];
  for (int64_t i = 1; i < length; ++i) {
    const scalar_t *from = x[i], *before = y[i - 1], *weight = weights[i];
    scalar_t* to = y[i];
#pragma GCC ivdep
    for (int64_t l = 0; l < lines; ++l) to[l] = from[l] + weight[l] * (before[l] - from[l]);
  }
  for (int64_t i = length - 1; i > 0; --i) {
    const scalar_t *behind = y[i], *weight = weights[i];
    scalar_t* to = y[i - 1];
#pragma GCC ivdep
    for (int64_t l = 0; l < lines; ++l) to[l] += weight[l] * (behind[l] - to[l]);
  }
}

// The gradient of filter_lines: `grad`, that of y, becomes that of x, and that of the edges is added to `edges`.
// `middle` has room for the values between the two passes.
template <typename scalar_t>
DEEPLAB_ALWAYS_INLINE void filter_lines_back(Lines<const scalar_t> x, Lines<const scalar_t> weights,
                                             Lines<const scalar_t> y, Lines<scalar_t> middle, Lines<scalar_t> grad,
                                             Lines<scalar_t> edges, scalar_t slope, int64_t length, int64_t lines) {
  for (int64_t l = 0; l < lines; ++l) middle[0][l] = x[0][l];
  for (int64_t i = 1; i < length; ++i) {
    const scalar_t *from = x[i], *weight = weights[i], *result = y[i], *middle_before = middle[i - 1];
    scalar_t *grad_before = grad[i - 1], *grad_here = grad[i], *edge = edges[i], *to = middle[i];
#pragma GCC ivdep
    for (int64_t l = 0; l < lines; ++l) {
      const scalar_t flow = weight[l] * grad_before[l];
      edge[l] += slope * flow * (result[l] - middle_before[l]);
      grad_here[l] += flow;
      grad_before[l] -= flow;
      to[l] = from[l] + weight[l] * (middle_before[l] - from[l]);
    }
  }
  for (int64_t i = length - 1; i > 0; --i) {
    const scalar_t *from = x[i], *weight = weights[i], *middle_before = middle[i - 1];
    scalar_t *grad_before = grad[i - 1], *grad_here = grad[i], *edge = edges[i];
#pragma GCC ivdep
    for (int64_t l = 0; l < lines; ++l) {
      const scalar_t flow = weight[l] * grad_here[l];
      edge[l] += slope * flow * (middle_before[l] - from[l]);
      grad_before[l] += flow;
      grad_here[l] -= flow;
    }
  }
}

// Rows of a plane to lines, and back. There are `rows` of them; the other lines of the block become 0.
template <typename scalar_t>
DEEPLAB_ALWAYS_INLINE void turn_few(const scalar_t* plane, int64_t stride, int64_t begin, int64_t width, int64_t rows,
                                    scalar_t* block) {
  for (int64_t x = begin; x < width; ++x) {
    for (int64_t r = 0; r < rows; ++r) block[x * kRows + r] = plane[r * stride + x];
    for (int64_t r = rows; r < kRows; ++r) block[x * kRows + r] = 0;
  }
}

template <typename scalar_t>
DEEPLAB_ALWAYS_INLINE void turn_few_back(const scalar_t* block, int64_t begin, int64_t width, int64_t rows,
                                         scalar_t* plane, int64_t stride) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t x = begin; x < width; ++x) plane[r * stride + x] = block[x * kRows + r];
  }
}

template <typename scalar_t>
DEEPLAB_ALWAYS_INLINE void turn(const scalar_t* plane, int64_t stride, int64_t width, int64_t rows, scalar_t* block) {
  turn_few(plane, stride, 0, width, rows, block);
}

template <typename scalar_t>
DEEPLAB_ALWAYS_INLINE void turn_back(const scalar_t* block, int64_t width, int64_t rows, scalar_t* plane,
                                     int64_t stride) {
  turn_few_back(block, 0, width, rows, plane, stride);
}

DEEPLAB_ALWAYS_INLINE void turn_tile(Float4& a, Float4& b, Float4& c, Float4& d) {
  const Float4 ab_low = DEEPLAB_SHUFFLE(a, b, 0, 4, 1, 5), ab_high = DEEPLAB_SHUFFLE(a, b, 2, 6, 3, 7);
  const Float4 cd_low = DEEPLAB_SHUFFLE(c, d, 0, 4, 1, 5), cd_high = DEEPLAB_SHUFFLE(c, d, 2, 6, 3, 7);
  a = DEEPLAB_SHUFFLE(ab_low, cd_low, 0, 1, 4, 5);
  b = DEEPLAB_SHUFFLE(ab_low, cd_low, 2, 3, 6, 7);
  c = DEEPLAB_SHUFFLE(ab_high, cd_high, 0, 1, 4, 5);
  d = DEEPLAB_SHUFFLE(ab_high, cd_high, 2, 3, 6, 7);
}

// Transposes a tile of 4 x 4 elements.
DEEPLAB_ALWAYS_INLINE void turn_tile(const float* from, int64_t from_step, float* to, int64_t to_step) {
  const auto load = [=](int64_t i) DEEPLAB_INLINE_LAMBDA {
    return Float4(*reinterpret_cast<const LooseFloat4*>(from + i * from_step));
  };
  Float4 a = load(0), b = load(1), c = load(2), d = load(3);
  turn_tile(a, b, c, d);
  *reinterpret_cast<LooseFloat4*>(to) = a;
  *reinterpret_cast<LooseFloat4*>(to + to_step) = b;
  *reinterpret_cast<LooseFloat4*>(to + 2 * to_step) = c;
  *reinterpret_cast<LooseFloat4*>(to + 3 * to_step) = d;
}

DEEPLAB_ALWAYS_INLINE void turn(const float* plane, int64_t stride, int64_t width, int64_t rows, float* block) {
  const int64_t tiles = rows == kRows ? width / 4 * 4 : 0;
  for (int64_t x = 0; x < tiles; x += 4) {
    for (int64_t r = 0; r < kRows; r += 4) turn_tile(plane + r * stride + x, stride, block + x * kRows + r, kRows);
  }
  turn_few(plane, stride, tiles, width, rows, block);
}

DEEPLAB_ALWAYS_INLINE void turn_back(const float* block, int64_t width, int64_t rows, float* plane, int64_t stride) {
  const int64_t tiles = rows == kRows ? width / 4 * 4 : 0;
  for (int64_t x = 0; x < tiles; x += 4) {
    for (int64_t r = 0; r < kRows; r += 4) turn_tile(block + x * kRows + r, kRows, plane + r * stride + x, stride);
  }
  turn_few_back(block, tiles, width, rows, plane, stride);
}

}  // namespace deeplab::domain_transform
