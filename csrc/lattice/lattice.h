// The permutohedral lattice (Adams, Baek and Davis, 2010) as Kraehenbuehl's 2011 code computes it, which DeepLab v1
// carries: where a feature lies, which vertices surround it, and which vertices are neighbours.
//
// Everything is float32 and in the original's order of operations, because rounding decides which simplex a feature
// falls into: with another order some keys differ, and with them the filter.
#pragma once

#include <cmath>
#include <cstdint>
#include <memory>
#include <mutex>

#include "../common/aligned_buffer.h"
#include "../common/host_device.h"
#include "../common/tensor_view.h"

namespace deeplab::lattice {

constexpr int kMaxDims = 16;

// Beyond this many lattice units from the origin float32 leaves less than three bits of a unit to the barycentric
// weights. (The original's 16-bit keys wrapped silently beyond 2^15.)
constexpr float kMaxCoordinate = 1 << 20;

// Diagonal part of the elevation (p. 5 of the paper), so that the blur has unit standard deviation in feature space.
inline void scale_factors(int dims, float* scale) {
  const float inv_std_dev = static_cast<float>(std::sqrt(2.0 / 3.0) * (dims + 1));
  for (int i = 0; i < dims; ++i) {
    scale[i] = static_cast<float>(1.0 / std::sqrt(static_cast<double>((i + 2) * (i + 1))) * inv_std_dev);
  }
}

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

  // A point whose coordinates do not sum to 0 is brought back onto the plane.
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

  // Barycentric coordinates (p. 10). The original adds and subtracts the shares into an array; each element gets one of
  // either, so their order does not matter.
  for (int r = 1; r <= dims; ++r) simplex.weight[r] = share[dims - r] - share[dims - r + 1];
  simplex.weight[0] = share[dims] + (1.f - share[0]);
}

// One corner of a point's simplex, as its vertex sees it.
struct Entry {
  int32_t point;
  float weight;
};

// The lattice of a set of features. Vertices are numbered from 1 in the order of the first feature that touches them,
// whatever the number of threads.
struct Lattice {
  int dims = 0;
  int64_t points = 0;
  int64_t vertices = 0;
  float alpha = 0.f;  // the slice's factor 1 / (1 + 2^-dims)

  // Simplex of each point: what slicing reads.
  AlignedBuffer<int32_t> point_vertex;  // (points, dims + 1)
  AlignedBuffer<float> point_weight;    // (points, dims + 1)

  // The same, by vertex and then by point: what splatting reads, so that each vertex is summed by one thread in one
  // order. Entries of vertex v are [row_start[v - 1], row_start[v]).
  AlignedBuffer<int64_t> row_start;  // (vertices + 1)
  AlignedBuffer<Entry> entries;      // (points * (dims + 1))

  AlignedBuffer<int32_t> keys;  // (vertices, dims)

  // For each axis all vertices once, along chains of neighbours, a 0 before each chain and after the last: the way of a
  // blur in place. From a vertex to the next one of its chain all coordinates grow by 1, but that of the axis falls by
  // dims. Those of an axis are [chain_start[axis], chain_start[axis + 1]).
  AlignedBuffer<int32_t> chains;
  int64_t chain_start[kMaxDims + 2] = {};

  // filter(1) of each point, which every normalisation needs; computed when first asked for.
  const AlignedBuffer<float>& filtered_ones() const;

  int64_t bytes() const;
  // What a lattice takes at the least, whatever the number of its vertices.
  static int64_t min_bytes(int64_t points, int dims) { return points * (dims + 1) * 16; }

 private:
  mutable std::mutex filtered_ones_mutex_;
  mutable AlignedBuffer<float> filtered_ones_;
};

// features (points, dims) float32, any strides, finite. With `sse_padding`, what the original's blocks of four points
// do is done too: where `points` is not a multiple of four, the vertices around feature 0 exist as well. Throws
// std::invalid_argument for features too far from the origin for float32 or for 128-bit keys.
std::shared_ptr<const Lattice> build_cpu(const TensorView& features, bool sse_padding);

}  // namespace deeplab::lattice
