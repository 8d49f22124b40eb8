// The lattice on a GPU: the same vertices, weights and neighbours as build_cpu's, numbered in the order of their keys.
//
// The number of vertices is known on the device only. What is allocated before it is known holds the bound, one vertex
// for each corner of each simplex; kernels run over the count that they read from device memory. So a caller may ask
// for the count once, and allocate what is left exactly, or never wait for the device and allocate the bound for all
// (a CUDA graph has no other choice).
//
// All memory is the caller's and must live as long as the lattice: this class holds pointers.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "../common/tensor_view.h"
#include "key_fields.h"
#include "lattice.h"

namespace deeplab::lattice {

// Splatting works in segments of so many entries, whatever vertices they belong to: a vertex under a blue sky has
// thousands of entries, most have a handful.
#ifndef DEEPLAB_SEGMENT
#define DEEPLAB_SEGMENT 32
#endif
constexpr int kSegment = DEEPLAB_SEGMENT;
// A vertex whose entries span more segments than this is summed by a block instead of a few threads.
constexpr int kHeavySegments = 16;

struct alignas(8) Entry {
  int32_t point;  // its highest bit is set in the first entry of a vertex
  float weight;
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

// What kernels see of a lattice.
struct DeviceLattice {
  int dims;
  int32_t points;
  int32_t entries;   // points * (dims + 1), more with SSE padding
  int64_t capacity;  // vertices that `neighbours` has room for along each axis
  Status* status;
  void* keys;                 // (vertices): words of 64 or 128 bits, rising
  int32_t* point_vertex;      // (points, dims + 1), counted from 1
  float* point_share;         // (points, dims + 1): weight * alpha, what slicing multiplies with
  Entry* entry;               // (entries): by vertex, then by point
  int32_t* row_start;         // (vertices + 1): entries of vertex v are [row_start[v - 1], row_start[v])
  int32_t* segment_vertex;    // (segments): the vertex of each segment's first entry
  int32_t* heavy;             // (status->heavy), in any order
  NeighbourPair* neighbours;  // (dims + 1, capacity)

  DEEPLAB_HOST_DEVICE int64_t segments() const { return (static_cast<int64_t>(entries) + kSegment - 1) / kSegment; }
};

// Where features come from: positions, or an image, or both.
struct FeatureSource {
  const void* data;  // (height, width, channels), float32 or uint8; null for positions alone
  bool is_byte;
  int64_t strides[3];  // in elements
  int32_t width;
  int positions;  // 2: the first two features are x and y of a pixel; 0: there are only the channels
  float divisor[kMaxDims];
  float low[kMaxDims], high[kMaxDims];  // range of each feature before the division
};

class CudaLattice {
 public:
  // Of the pixels of an image of this size, on this CUDA device. `divisors`: the standard deviation of each feature;
  // with `positions`, x and y are the first two. `ranges`: smallest and largest value of each channel of the image.
  // `sse_padding` as in build_cpu. Throws std::invalid_argument for features too far from the origin.
  CudaLattice(int device, int64_t height, int64_t width, bool positions, const std::vector<float>& divisors,
              const std::vector<std::pair<float, float>>& ranges, bool sse_padding);

  // Bytes of the caller's memory: of the lattice, while building, and for tables of so many vertices.
  int64_t bytes() const;
  int64_t scratch_bytes() const;
  int64_t table_bytes(int64_t capacity) const;

  // Finds and numbers the vertices. `image`: (height, width, channels) float32 or uint8 of any strides, or null.
  void build(const TensorView* image, const TensorView& memory, const TensorView& scratch, uintptr_t stream);
  // Finds the neighbours. `capacity`: what count_vertices says, or max_vertices().
  void connect(const TensorView& table, int64_t capacity, uintptr_t stream);
  // Coordinates of the vertices, as Lattice::keys: out (vertices, dims) int32 on the CPU; waits for the device.
  void copy_keys(const TensorView& out, uintptr_t stream) const;

  int device() const { return device_; }
  int dims() const { return dims_; }
  int64_t points() const { return points_; }
  int64_t max_vertices() const { return entries_; }
  int key_bits() const { return fields_.bits; }
  bool connected() const { return view_.neighbours != nullptr; }
  const DeviceLattice& view() const { return view_; }

 private:
  int64_t place(void* memory, DeviceLattice& view) const;

  int device_, dims_;
  int64_t height_, width_, points_, entries_;
  KeyFields fields_;
  FeatureSource source_{};
  DeviceLattice view_{};
};

// Throws std::invalid_argument unless the memory is uint8, contiguous, on the device and has so many bytes.
void check_cuda_memory(const TensorView& memory, const char* name, int device, int64_t bytes);

// Number of vertices of each lattice, one wait for all; -1 for one whose features were outside their ranges.
std::vector<int64_t> count_vertices(const std::vector<std::shared_ptr<CudaLattice>>& lattices, uintptr_t stream);

// Whether a CUDA graph is being captured from the stream: then nothing may wait for the device.
bool is_capturing(uintptr_t stream);

// Smallest and largest value of each channel of an image (height, width, channels), float32 or uint8; waits for the
// device. `scratch`: 8 bytes for each channel. A range that is not finite tells of values that are not.
std::vector<std::pair<float, float>> channel_ranges(const TensorView& image, const TensorView& scratch,
                                                    uintptr_t stream);

}  // namespace deeplab::lattice
