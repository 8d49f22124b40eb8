// Taps of neighbouring columns as arrays, for the CPU's loops over them.
#pragma once

#include <cstdint>
#include <vector>

#include "../common/half.h"
#include "../common/simd.h"
#include "interp.h"

namespace deeplab::interp {

// Columns [begin, begin + count) of the resized image.
template <typename scalar_t>
struct Columns {
  Columns(const ResizedAxis& axis, int64_t begin, int64_t count) : low(count), high(count), near(count), far(count) {
    for (int64_t i = 0; i < count; ++i) {
      const Tap<scalar_t> t = tap<scalar_t>(axis, begin + i);
      low[i] = static_cast<int32_t>(t.low);
      high[i] = static_cast<int32_t>(t.high);
      near[i] = t.near;
      far[i] = t.far;
    }
  }
  int64_t count() const { return static_cast<int64_t>(low.size()); }

  std::vector<int32_t> low, high;
  std::vector<scalar_t> near, far;
};

// Neighbouring rows of the resized image that read the same two rows of the source.
struct RowRun {
  int64_t begin, end;  // rows of the resized image
  int64_t low, high;   // rows of the source
};

// At most `longest` rows in each.
inline std::vector<RowRun> row_runs(const ResizedAxis& axis, int64_t begin, int64_t count, int64_t longest) {
  std::vector<RowRun> runs;
  for (int64_t y = begin; y < begin + count; ++y) {
    const Tap<float> t = tap<float>(axis, y);
    if (runs.empty() || runs.back().low != t.low || y - runs.back().begin == longest) {
      runs.push_back({y, y, t.low, t.high});
    }
    runs.back().end = y + 1;
  }
  return runs;
}

// The source's values [begin, end) of a row, contiguous and in the type of the computation: in `scratch`, or in place
// if they already are so.
template <typename stored_t>
DEEPLAB_ALWAYS_INLINE const compute_t<stored_t>* widened(const stored_t* row, int64_t stride, int64_t begin,
                                                         int64_t end, compute_t<stored_t>* scratch) {
  if constexpr (std::is_same_v<stored_t, compute_t<stored_t>>) {
    if (stride == 1) return row + begin;
  }
  for (int64_t x = begin; x < end; ++x) scratch[x - begin] = widen(row[x * stride]);
  return scratch;
}

// Columns [begin, begin + count) of a row resized along x; values[0] is the source's column `origin`.
template <typename scalar_t>
DEEPLAB_ALWAYS_INLINE void resize_row(const scalar_t* values, int64_t origin, const scalar_t* near, const scalar_t* far,
                                      const int32_t* low, const int32_t* high, int64_t count, scalar_t* out) {
  values -= origin;
  for (int64_t i = 0; i < count; ++i) out[i] = near[i] * values[low[i]] + far[i] * values[high[i]];
}

}  // namespace deeplab::interp
