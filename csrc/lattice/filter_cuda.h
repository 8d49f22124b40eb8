// Filtering on a GPU with lattices that are built and connected: of several images and kernels at once.
//
// Rows are as in filter.h, but a multiple of 4 wide, 4 channels to a thread.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "../common/carve.h"
#include "lattice_cuda.h"

namespace deeplab::lattice {

inline int64_t cuda_width(int64_t channels) { return (channels + 3) / 4 * 4; }

// One filtering up to the slice.
struct FilterJob {
  DeviceLattice lattice;
  const float* rows;    // (points, width); null for rows of ones
  const float* factor;  // (points), multiplied with the rows first; null for none
  void* front;          // (capacity + 1, width), float or half; row 0 is zero
  void* back;           // the same
  float* partial;       // (segments, 2, width): sums of vertices whose entries are not in one segment
  float scale;          // of what is stored: a power of two that keeps sums in a half's range; 1 for float

  // Takes front, back and partial from the caller's memory.
  void place(Carver& carver, int64_t width, bool half);
  // Where the values are when all axes are blurred.
  const void* blurred() const { return lattice.dims % 2 ? front : back; }
};

// Sums the rows of all jobs on their vertices, and blurs them; with `adjoint` along the axes in reverse order.
void splat_and_blur(const std::vector<FilterJob>& jobs, int64_t width, bool half, bool adjoint, int device,
                    uintptr_t stream);

// values (points, channels) float32, any strides -> out, the same shape, contiguous
int64_t filter_workspace_bytes(const CudaLattice& lattice, int64_t channels);
void filter_cuda(const CudaLattice& lattice, const TensorView& values, const TensorView& out, bool adjoint,
                 const TensorView& workspace, uintptr_t stream);

// out (points) float32: 1 / (filter(1) + 1e-20), or with `root` 1 / sqrt(filter(1) + 1e-20). Workspace as of one
// channel.
void norm_cuda(const CudaLattice& lattice, bool root, const TensorView& out, const TensorView& workspace,
               uintptr_t stream);

}  // namespace deeplab::lattice
