// locate() for several points at once, one to a lane, with the same bits.
#pragma once

#include <cstdint>

#include "../common/simd.h"
#include "lattice.h"
#include "packing.h"

namespace deeplab::lattice {

constexpr int kLanes = 16;

// kSize = dims + 1, or kMaxDims + 1 where dims is known at run time only.
template <typename Key, int kSize>
struct SimplexLanes {
  alignas(kCacheLine) float feature[kSize][kLanes];
  alignas(kCacheLine) int32_t rank[kSize][kLanes];  // of each coordinate
  alignas(kCacheLine) float weight[kSize][kLanes];  // of each corner
  alignas(kCacheLine) Key key[kLanes];              // of the closest vertex of colour 0
  alignas(kCacheLine) uint64_t order[kLanes];       // the ranks of all coordinates but the last, four bits each
};

// feature -> rank, weight, key and order
template <typename Key, int Dims, int kSize>
DEEPLAB_ALWAYS_INLINE void locate_lanes(const Packing<Key>& packing, const float* scale, int runtime_dims,
                                        SimplexLanes<Key, kSize>& lanes) {
  const int dims = Dims ? Dims : runtime_dims;
  const float count = static_cast<float>(dims + 1);
  const float inv_count = 1.0f / count;
  alignas(kCacheLine) float elevated[kSize][kLanes], offset[kSize][kLanes], base[kSize][kLanes];
  alignas(kCacheLine) float sum_of_later[kLanes] = {};
  alignas(kCacheLine) int32_t sum[kLanes] = {};

  for (int j = dims; j > 0; --j) {
    const float factor = static_cast<float>(j), axis_scale = scale[j - 1];
    for (int l = 0; l < kLanes; ++l) {
      const float scaled = lanes.feature[j - 1][l] * axis_scale;
      elevated[j][l] = sum_of_later[l] - factor * scaled;
      sum_of_later[l] += scaled;
    }
  }
  for (int l = 0; l < kLanes; ++l) elevated[0][l] = sum_of_later[l];

  for (int i = 0; i <= dims; ++i) {
    for (int l = 0; l < kLanes; ++l) {
      const float nearest = rintf(inv_count * elevated[i][l]);
      base[i][l] = nearest * count;
      offset[i][l] = elevated[i][l] - base[i][l];
      sum[l] += static_cast<int32_t>(nearest);
      lanes.rank[i][l] = 0;
    }
  }
  for (int i = 0; i < dims; ++i) {
    for (int j = i + 1; j <= dims; ++j) {
      for (int l = 0; l < kLanes; ++l) {
        const int32_t less = offset[i][l] < offset[j][l];
        lanes.rank[i][l] += less;
        lanes.rank[j][l] += 1 - less;
      }
    }
  }
  alignas(kCacheLine) float share[kSize][kLanes];  // by rank
  for (int l = 0; l < kLanes; ++l) lanes.key[l] = 0;
  for (int l = 0; l < kLanes; ++l) lanes.order[l] = 0;
  for (int r = 0; r <= dims; ++r) {
    for (int l = 0; l < kLanes; ++l) share[r][l] = 0.f;
  }
  for (int i = 0; i <= dims; ++i) {
    for (int l = 0; l < kLanes; ++l) {
      const int32_t rank = lanes.rank[i][l] + sum[l];
      const int32_t wrap = rank < 0 ? dims + 1 : rank > dims ? -(dims + 1) : 0;
      lanes.rank[i][l] = rank + wrap;
      base[i][l] += static_cast<float>(wrap);
      offset[i][l] = (elevated[i][l] - base[i][l]) * inv_count;
    }
    for (int r = 0; r <= dims; ++r) {
      for (int l = 0; l < kLanes; ++l) share[r][l] = lanes.rank[i][l] == r ? offset[i][l] : share[r][l];
    }
    if (i == dims) break;
    for (int l = 0; l < kLanes; ++l) lanes.order[l] = lanes.order[l] << 4 | static_cast<uint32_t>(lanes.rank[i][l]);
    for (int l = 0; l < kLanes; ++l) {
      lanes.key[l] += static_cast<Key>(static_cast<uint32_t>(static_cast<int32_t>(base[i][l]) - packing.low[i]))
                      << packing.shift[i];
    }
  }
  for (int l = 0; l < kLanes; ++l) lanes.weight[0][l] = share[dims][l] + (1.f - share[0][l]);
  for (int r = 1; r <= dims; ++r) {
    for (int l = 0; l < kLanes; ++l) lanes.weight[r][l] = share[dims - r][l] - share[dims - r + 1][l];
  }
}

}  // namespace deeplab::lattice
