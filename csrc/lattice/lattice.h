// The permutohedral lattice (Adams, Baek and Davis, 2010) as computed by Kraehenbuehl's 2011 code, which DeepLab v1
// includes: the position of a feature, the vertices that surround it, and the neighbours of each vertex.
//
// Everything is float32 and in the original's order of operations, because rounding decides which simplex a feature
// falls into: with another order some keys differ, and with them the filter.
#pragma once

#include <cmath>
#include <cstdint>
#include <memory>

#include "../common/aligned_buffer.h"
#include "../common/made_once.h"
#include "../common/tensor_view.h"
#include "simplex.h"

namespace deeplab::lattice {

// Beyond this many lattice units from the origin float32 leaves less than three bits of a unit for the barycentric
// weights. (The original's 16-bit keys wrapped silently beyond 2^15.)
constexpr float kMaxCoordinate = 1 << 20;

// Diagonal part of the elevation (p. 5 of the paper), so that the blur has unit standard deviation in feature space.
inline void scale_factors(int dims, float* scale) {
  const float inv_std_dev = static_cast<float>(std::sqrt(2.0 / 3.0) * (dims + 1));
  for (int i = 0; i < dims; ++i) {
    scale[i] = static_cast<float>(1.0 / std::sqrt(static_cast<double>((i + 2) * (i + 1))) * inv_std_dev);
  }
}

// The factor of a slice, 1 / (1 + 2^-dims).
inline float slice_factor(int dims) { return 1.f / (1.f + std::pow(2.f, static_cast<float>(-dims))); }

constexpr int64_t kBlock = 16;         // points
constexpr int64_t kWeightsBeyond = 8;  // floats after the last weight, which vectors of weights for pairs read too

// Index of a point's corner 0 in a lattice's point_vertex and point_weight; the next corner is kBlock further on.
inline int64_t first_corner(int64_t point, int64_t corners) {
  const int64_t place = point & (kBlock - 1);
  return (point - place) * corners + place;
}

// The entries of a lattice in an order for rows of two floats, where one vector holds the rows of several vertices:
// sliced ELLPACK (SELL-C-sigma of Kreutzer et al., 2014) with C = kChunk and sigma = kWindow, but with the remaining
// entries behind instead of padding. Vertices are divided into windows of kWindow. The vertices of a window are sorted
// by the number of their entries, most first, and form chunks of kChunk. The entries of a chunk are interleaved, one of
// each vertex after the other, as many as the shortest list has; the remaining entries of each vertex follow.
struct InterleavedEntries {
  static constexpr int64_t kWindow = 2048;
  static constexpr int64_t kChunk = 8;

  AlignedBuffer<int32_t> vertex;  // (vertices): numbers from 1, window by window
  AlignedBuffer<int32_t> count;   // (vertices): how many entries, in the same order
  AlignedBuffer<int32_t> point;   // (points * (dims + 1))
  AlignedBuffer<float> weight;    // (points * (dims + 1))
};

// The lattice of a set of features. Vertices are numbered from 1 in the order of the first feature that touches them,
// whatever the number of threads.
struct Lattice {
  DEEPLAB_NEEDS_INIT(Lattice)

  int dims = 0;
  int64_t points = 0;
  int64_t vertices = 0;
  float alpha = 0.f;  // slice_factor(dims)

  // Simplex of each point, for slicing: a block of points is stored together, so that a vector holds the same corner of
  // several points.
  AlignedBuffer<int32_t> point_vertex;  // (blocks, dims + 1, kBlock), 0 beyond the last point
  AlignedBuffer<float> point_weight;    // (blocks, dims + 1, kBlock), 0 beyond the last point

  // The same, ordered by vertex and then by point, for splatting: each vertex is summed by one thread in one order.
  // Entries of vertex v are [row_start[v - 1], row_start[v]).
  AlignedBuffer<int64_t> row_start;  // (vertices + 1)
  AlignedBuffer<Entry> entries;      // (points * (dims + 1))

  AlignedBuffer<int32_t> keys;  // (vertices, dims)

  // For each axis all vertices once, along chains of neighbours, with a 0 before each chain and after the last: the
  // order of an in-place blur. From a vertex to the next one of its chain all coordinates grow by 1, except that of the
  // axis, which falls by dims. The chains of an axis are [chain_start[axis], chain_start[axis + 1]).
  AlignedBuffer<int32_t> chains;
  int64_t chain_start[kMaxDims + 2] = {};

  // The entries again, in interleaved order; made at the first call.
  const InterleavedEntries& interleaved_entries() const;

  // filter(1) of each point, which every normalisation needs; computed at the first call.
  const AlignedBuffer<float>& filtered_ones() const;

  std::shared_ptr<Workspace> workspace;  // that it was built in; may be null

  int64_t bytes() const;
  // The least memory that a lattice takes, for any number of vertices.
  static int64_t min_bytes(int64_t points, int dims) { return product({points, int64_t{dims} + 1, 16}); }

 private:
  MadeOnce<InterleavedEntries> interleaved_entries_;
  MadeOnce<AlignedBuffer<float>> filtered_ones_;
};

// features (points, dims) float32, any strides, finite. With `sse_padding`, the padding of the original's blocks of
// four points is included: if `points` is not a multiple of four, the vertices around feature 0 exist as well. Throws
// std::invalid_argument for features too far from the origin for float32 or for 128-bit keys.
std::shared_ptr<const Lattice> build_cpu(const TensorView& features, bool sse_padding);

}  // namespace deeplab::lattice
