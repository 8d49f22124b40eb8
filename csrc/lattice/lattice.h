// The permutohedral lattice (Adams, Baek and Davis, 2010) as Kraehenbuehl's 2011 code computes it, which DeepLab v1
// carries: where a feature lies, which vertices surround it, and which vertices are neighbours.
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

// What a slice multiplies with, 1 / (1 + 2^-dims).
inline float slice_factor(int dims) { return 1.f / (1.f + std::pow(2.f, static_cast<float>(-dims))); }

constexpr int64_t kBlock = 16;         // points
constexpr int64_t kWeightsBeyond = 8;  // floats after the last weight, which vectors of weights for pairs read too

// Where corner 0 of a point is in a lattice's point_vertex and point_weight; kBlock further on is the next one.
inline int64_t first_corner(int64_t point, int64_t corners) {
  const int64_t place = point & (kBlock - 1);
  return (point - place) * corners + place;
}

// The entries of a lattice for rows of two floats, of which a vector holds those of several vertices. Vertices go in
// windows of kWindow. Those of a window are sorted, most entries first, kTurns to a group; the entries of a group lie
// in turns, one of each vertex, as far as the shortest goes, and then what is left of each.
struct TurnedEntries {
  static constexpr int64_t kWindow = 2048;
  static constexpr int64_t kTurns = 8;

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

  // Simplex of each point: what slicing reads, a block of points together, so that a vector holds the same corner of
  // several.
  AlignedBuffer<int32_t> point_vertex;  // (blocks, dims + 1, kBlock), 0 beyond the last point
  AlignedBuffer<float> point_weight;    // (blocks, dims + 1, kBlock), 0 beyond the last point

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

  // The entries once more, in an order of their own; made when first asked for.
  const TurnedEntries& turned_entries() const;

  // filter(1) of each point, which every normalisation needs; computed when first asked for.
  const AlignedBuffer<float>& filtered_ones() const;

  std::shared_ptr<Workspace> workspace;  // that it was built in; may be null

  int64_t bytes() const;
  // What a lattice takes at the least, whatever the number of its vertices.
  static int64_t min_bytes(int64_t points, int dims) { return product({points, dims + 1, 16}); }

 private:
  MadeOnce<TurnedEntries> turned_entries_;
  MadeOnce<AlignedBuffer<float>> filtered_ones_;
};

// features (points, dims) float32, any strides, finite. With `sse_padding`, what the original's blocks of four points
// do is done too: where `points` is not a multiple of four, the vertices around feature 0 exist as well. Throws
// std::invalid_argument for features too far from the origin for float32 or for 128-bit keys.
std::shared_ptr<const Lattice> build_cpu(const TensorView& features, bool sse_padding);

}  // namespace deeplab::lattice
