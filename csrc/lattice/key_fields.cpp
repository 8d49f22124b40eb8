#include "key_fields.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "../common/parallel.h"
#include "../common/simd.h"

namespace deeplab::lattice {
namespace {

constexpr int64_t kChunk = 4096;

using Ranges = std::array<Range, kMaxDims>;

float value(const TensorView& features, int64_t point, int64_t dim) {
  return features.ptr<const float>()[point * features.stride(0) + dim * features.stride(1)];
}

// The smallest and the largest value; not finite if any value is not finite.
Range range(const float* values, int64_t stride, int64_t count) {
  const float first = values[0];
  Float4 low{first, first, first, first}, high = low, fault{};  // fault becomes NaN where a value is not finite
  int64_t i = 0;
  for (; stride == 1 && i + 4 <= count; i += 4) {
    const Float4 some = *reinterpret_cast<const LooseFloat4*>(values + i);
    low = some < low ? some : low;
    high = some > high ? some : high;
    fault += some * 0.f;
  }
  for (; i < count; ++i) {
    const float one = values[i * stride];
    low[0] = std::min(low[0], one);
    high[0] = std::max(high[0], one);
    fault[0] += one * 0.f;
  }
  return {std::min(std::min(low[0], low[1]), std::min(low[2], low[3])) + fault[0] + fault[1] + fault[2] + fault[3],
          std::max(std::max(high[0], high[1]), std::max(high[2], high[3]))};
}

// Range of each feature; throws for one that is not finite.
Ranges feature_ranges(const TensorView& features, bool with_zero) {
  const int64_t points = features.size(0), dims = features.size(1);
  const int64_t chunks = (points + kChunk - 1) / kChunk;
  std::vector<Ranges> ranges(chunks);
  std::vector<int64_t> bad(chunks, -1);
  parallel_for(points, kChunk, [&](int64_t begin, int64_t end) {
    Ranges& mine = ranges[begin / kChunk];
    for (int64_t i = 0; i < dims; ++i) {
      const float* values = &features.ptr<const float>()[begin * features.stride(0) + i * features.stride(1)];
      mine[i] = range(values, features.stride(0), end - begin);
      if (std::isfinite(mine[i].low) && std::isfinite(mine[i].high)) continue;
      for (int64_t point = begin; point < end; ++point) {
        if (!std::isfinite(value(features, point, i))) bad[begin / kChunk] = point;
      }
    }
  });
  for (int64_t point : bad) DEEPLAB_CHECK(point < 0, "features: point ", point, " has a value that is not finite");
  Ranges all{};
  for (int64_t i = 0; i < dims; ++i) {
    if (!with_zero) all[i] = ranges[0][i];
    for (const Ranges& one : ranges) {
      all[i] = {std::min(all[i].low, one[i].low), std::max(all[i].high, one[i].high)};
    }
  }
  return all;
}

// Ranges of the elevated coordinates, from those of the features: sum of the later features less j times this one.
std::array<Range, kMaxDims + 1> elevated_ranges(const Ranges& features, const float* scale, int dims) {
  std::array<Range, kMaxDims + 1> elevated;
  double low = 0, high = 0;
  for (int j = dims; j > 0; --j) {
    const double own_low = double(features[j - 1].low) * scale[j - 1],
                 own_high = double(features[j - 1].high) * scale[j - 1];
    elevated[j] = {static_cast<float>(low - j * own_high), static_cast<float>(high - j * own_low)};
    low += own_low;
    high += own_high;
  }
  elevated[0] = {static_cast<float>(low), static_cast<float>(high)};
  return elevated;
}

}  // namespace

KeyFields key_fields(const std::array<Range, kMaxDims>& ranges, const float* scale, int dims) {
  const auto elevated = elevated_ranges(ranges, scale, dims);
  KeyFields result;
  for (int i = 0; i <= dims; ++i) {
    const float reach = std::max(-elevated[i].low, elevated[i].high);
    DEEPLAB_CHECK(reach <= kMaxCoordinate, "features reach ", reach, " lattice units from the origin, but float32 ",
                  "places points only within ", kMaxCoordinate, ": is a standard deviation too small?");
    if (i == dims) break;  // the last coordinate follows from the others
    // Rounding moves a coordinate by at most (dims + 1) / 2, wrapping, the simplex' corners and their neighbours by
    // at most dims + 1 each.
    const int32_t margin = 4 * (dims + 1);
    result.low[i] = static_cast<int32_t>(std::floor(elevated[i].low)) - margin;
    const int64_t span = static_cast<int64_t>(std::ceil(elevated[i].high)) + margin - result.low[i];
    result.width[i] = 1;
    while ((int64_t{1} << result.width[i]) <= span) ++result.width[i];
    result.bits += result.width[i];
  }
  DEEPLAB_CHECK(result.bits <= kMaxKeyBits, "features span ", result.bits, " bits of lattice keys, but ", kMaxKeyBits,
                " is the most that a key can have: ", dims,
                " features with such small standard deviations are too many");
  return result;
}

KeyFields key_fields(const TensorView& features, bool with_zero, const float* scale) {
  return key_fields(feature_ranges(features, with_zero), scale, static_cast<int>(features.size(1)));
}

}  // namespace deeplab::lattice
