// The position of a feature in the permutohedral lattice: its exact arithmetic, for CPU and GPU.
#pragma once

#include <cmath>
#include <cstdint>

#include "../common/host_device.h"

namespace deeplab::lattice {

constexpr int kMaxDims = 16;

// One corner of a point's simplex, as an entry of its vertex.
struct alignas(8) Entry {
  int32_t point;
  float weight;
};

// The simplex around one feature. Vertex r (r = 0..dims) has key[i] = base[i] + r, less dims + 1 for the coordinates
// whose rank exceeds dims - r; its weight is weight[r]. Coordinate dims is minus the sum of the others and not kept.
template <int N>
struct Simplex {
  int32_t base[N + 1];     // the closest vertex of colour 0
  int32_t at_rank[N + 1];  // inverse of the rank: at_rank[rank of coordinate i] = i
  float weight[N + 1];
};

// feature[dims]; Dims = 0 means known at run time only.
template <int Dims>
DEEPLAB_HOST_DEVICE void locate(const float* feature, const float* scale, int runtime_dims,
                                Simplex<Dims ? Dims : kMaxDims>& simplex) {
  constexpr int kSize = (Dims ? Dims : kMaxDims) + 1;
  const int dims = Dims ? Dims : runtime_dims;
  const float count = static_cast<float>(dims + 1);
  const float inv_count = 1.0f / count;

  float elevated[kSize];
  float sum_of_later = 0.f;
  for (int j = dims; j > 0; --j) {
    const float scaled = feature[j - 1] * scale[j - 1];
    elevated[j] = sum_of_later - static_cast<float>(j) * scaled;
    sum_of_later += scaled;
  }
  elevated[0] = sum_of_later;

  float offset[kSize];  // from the closest vertex of colour 0
  float base[kSize];
  int32_t sum = 0;
  for (int i = 0; i <= dims; ++i) {
    const float nearest = rintf(inv_count * elevated[i]);  // half to even
    base[i] = nearest * count;
    offset[i] = elevated[i] - base[i];
    sum += static_cast<int32_t>(nearest);
  }

  int32_t rank[kSize] = {};
  for (int i = 0; i < dims; ++i) {
    for (int j = i + 1; j <= dims; ++j) {
      const int32_t less = offset[i] < offset[j];
      rank[i] += less;
      rank[j] += 1 - less;
    }
  }

  // A point whose coordinates do not sum to 0 is moved back onto the plane.
  float share[kSize] = {};  // by rank
  for (int i = 0; i <= dims; ++i) {
    rank[i] += sum;
    const int32_t wrap = rank[i] < 0 ? dims + 1 : rank[i] > dims ? -(dims + 1) : 0;
    rank[i] += wrap;
    base[i] += static_cast<float>(wrap);
    simplex.base[i] = static_cast<int32_t>(base[i]);
    simplex.at_rank[rank[i]] = i;
    share[rank[i]] = (elevated[i] - base[i]) * inv_count;
  }

  // Barycentric coordinates (p. 10). The original adds and subtracts the shares in an array; each element gets one
  // addition and one subtraction, so their order does not matter.
  for (int r = 1; r <= dims; ++r) simplex.weight[r] = share[dims - r] - share[dims - r + 1];
  simplex.weight[0] = share[dims] + (1.f - share[0]);
}

}  // namespace deeplab::lattice
