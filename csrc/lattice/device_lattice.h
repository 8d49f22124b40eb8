// Data structures of a lattice on a GPU, as kernels use them. No host code: this also compiles at run time (NVRTC).
#pragma once

#include <cstdint>

#include "../common/host_device.h"
#include "simplex.h"

namespace deeplab::lattice {

// Splatting works in segments of this many entries, regardless of their vertices: a vertex in a uniform area, like a
// blue sky, has thousands of entries, most vertices have only a few.
#ifndef DEEPLAB_SEGMENT
#define DEEPLAB_SEGMENT 32
#endif
constexpr int kSegment = DEEPLAB_SEGMENT;
// A vertex whose entries span more segments than this is summed by a block instead of a few threads.
constexpr int kHeavySegments = 16;

constexpr int kScanThreads = 1024;
constexpr int kScanItems = 2048;  // entries that a block numbers

// Factors of scale_factors.
struct Scale {
  float factor[kMaxDims];
};

struct alignas(8) NeighbourPair {
  int32_t before, after;
};

// Written by the device; `vertices` must come first.
struct Status {
  int32_t vertices;
  int32_t heavy;   // vertices spanning more than kHeavySegments
  int32_t beyond;  // 1 if a feature was outside the range it was said to be in, or not a number
};

struct DeviceLattice {
  int32_t dims;
  int32_t points;
  int32_t entries;   // points * (dims + 1), more with SSE padding
  int64_t capacity;  // vertices that `neighbours` has room for along each axis
  Status* status;
  void* keys;                 // (vertices): words of 64 or 128 bits, rising
  int32_t* point_vertex;      // (points, dims + 1), counted from 1
  float* point_share;         // (points, dims + 1): weight * alpha, what slicing multiplies with
  Entry* entry;               // (entries): by vertex, then by point; the highest bit of a vertex's first point is set
  int32_t* row_start;         // (vertices + 1): entries of vertex v are [row_start[v - 1], row_start[v])
  int32_t* segment_vertex;    // (segments): the vertex of each segment's first entry
  int32_t* heavy;             // (status->heavy), in any order
  NeighbourPair* neighbours;  // (dims + 1, capacity)

  DEEPLAB_HOST_DEVICE int64_t segments() const { return (static_cast<int64_t>(entries) + kSegment - 1) / kSegment; }
};

// Source of the features: positions, or an image, or both.
struct FeatureSource {
  const void* data;    // (height, width, channels), float32 or uint8; null for positions alone
  int64_t strides[3];  // in elements
  int32_t is_byte;
  int32_t width;
  int32_t positions;  // 2: the first two features are x and y of a pixel; 0: there are only the channels
  float divisor[kMaxDims];
  float low[kMaxDims], high[kMaxDims];  // range of each feature before the division
};

// One filtering, up to the slice.
struct FilterJob {
  DeviceLattice lattice;
  const float* rows;    // (points, width); null for rows of ones
  const float* factor;  // (points), multiplied with the rows first; null for none
  const float* costs;   // (1, width) or (width, width), multiplied with the vertices' rows at the end; null for none
  void* front;          // (capacity + 1, width), float or half; row 0 is zero
  void* back;           // the same
  float* partial;       // (segments, 2, width): sums of vertices whose entries are not in one segment
  float scale;          // of what is stored: a power of two that keeps sums in a half's range; 1 for float
  int32_t cost_rows;

  // The array with the values after all axes are blurred, and after the costs are applied.
  DEEPLAB_HOST_DEVICE void* blurred() const { return lattice.dims % 2 ? front : back; }
  DEEPLAB_HOST_DEVICE void* values() const { return (lattice.dims % 2 == 0) == (costs == nullptr) ? back : front; }
};

// Jobs of one launch, by blockIdx.y; a kernel's arguments hold 4 KiB.
constexpr int kMaxJobs = 16;
struct Jobs {
  FilterJob job[kMaxJobs];
};
static_assert(sizeof(Jobs) <= 3584, "too many arguments for a kernel");

}  // namespace deeplab::lattice
