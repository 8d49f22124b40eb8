// The lattice on a GPU: the same vertices, weights and neighbours as build_cpu's, numbered in the order of their keys.
//
// The number of vertices is known on the device only. Memory that is allocated before it is known has room for the
// upper bound, one vertex for each corner of each simplex; kernels run over the count that they read from device
// memory. So a caller may ask for the count once, and allocate the rest exactly, or never wait for the device and
// allocate the bound for everything (a CUDA graph has no other choice).
//
// All memory is the caller's and must live as long as the lattice: this class holds pointers.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "../common/tensor_view.h"
#include "device_lattice.h"
#include "key_fields.h"

namespace deeplab::lattice {

class CudaLattice {
 public:
  DEEPLAB_NEEDS_INIT(CudaLattice)

  // A lattice of the pixels of an image of this size, on this CUDA device. `divisors`: the standard deviation of each
  // feature; with `positions`, x and y are the first two. `ranges`: smallest and largest value of each channel of the
  // image. `sse_padding` as in build_cpu. Throws std::invalid_argument for features too far from the origin.
  CudaLattice(int device, int64_t height, int64_t width, bool positions, const std::vector<float>& divisors,
              const std::vector<std::pair<float, float>>& ranges, bool sse_padding);

  // Bytes of the caller's memory: for the lattice, for building, and for tables of this many vertices.
  int64_t bytes() const;
  int64_t scratch_bytes() const;
  int64_t table_bytes(int64_t capacity) const;

  // Finds and numbers the vertices. `image`: (height, width, channels) float32 or uint8 of any strides, or null.
  void build(const TensorView* image, const TensorView& memory, const TensorView& scratch, uintptr_t stream);
  // Finds the neighbours. `capacity`: the result of count_vertices, or max_vertices().
  void connect(const TensorView& table, int64_t capacity, uintptr_t stream);
  // Coordinates of the vertices, as Lattice::keys: out (vertices, dims) int32 on the CPU; waits for the device.
  void copy_keys(const TensorView& out, uintptr_t stream) const;

  int device() const { return device_; }
  int dims() const { return dims_; }
  int64_t points() const { return points_; }
  int64_t max_vertices() const { return entries_; }
  int key_bits() const { return fields_.bits; }
  bool connected() const { return view_.neighbours != nullptr; }
  void counted(int64_t vertices) { vertices_ = vertices; }
  const DeviceLattice& view() const { return view_; }

 private:
  int64_t place(void* memory, DeviceLattice& view) const;

  int device_, dims_;
  int64_t height_, width_, points_, entries_;
  int64_t vertices_ = -1;  // as far as the host knows
  KeyFields fields_;
  FeatureSource source_{};
  DeviceLattice view_{};
};

// Throws std::invalid_argument unless the memory is uint8, contiguous, aligned, on the device and has this many bytes.
void check_cuda_memory(const TensorView& memory, const char* name, int device, int64_t bytes);

// Number of vertices of each lattice, one wait for all; -1 for one whose features were outside their ranges.
std::vector<int64_t> count_vertices(const std::vector<std::shared_ptr<CudaLattice>>& lattices, uintptr_t stream);

// Smallest and largest value of each channel of an image (height, width, channels), float32 or uint8; waits for the
// device. `scratch`: 8 bytes for each channel. A range is not finite if a value is not.
std::vector<std::pair<float, float>> channel_ranges(const TensorView& image, const TensorView& scratch,
                                                    uintptr_t stream);

}  // namespace deeplab::lattice
