// Filtering on a GPU with lattices that are built and connected, of several images and kernels at once.
//
// Rows are as in filter.h, but their width is a multiple of 4, and each thread has 4 channels.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "../common/carve.h"
#include "device_lattice.h"
#include "lattice_cuda.h"

namespace deeplab::lattice {

inline int64_t cuda_width(int64_t channels) { return (channels + 3) / 4 * 4; }

// Sets front, back and partial of a job, whose lattice is set, to parts of the caller's memory.
void place(FilterJob& job, Carver& carver, int64_t width, bool half);

// Sums the rows of all jobs on their vertices, blurs them (with `adjoint` along the axes in reverse order), and applies
// their costs.
void splat_and_blur(const std::vector<FilterJob>& jobs, int64_t width, bool half, bool adjoint, int device,
                    uintptr_t stream);

// values (items, points, channels) float32, any strides -> out, the same shape, contiguous: each item by its lattice
int64_t filter_workspace_bytes(const std::vector<std::shared_ptr<CudaLattice>>& lattices, int64_t channels);
void filter_cuda(const std::vector<std::shared_ptr<CudaLattice>>& lattices, const TensorView& values,
                 const TensorView& out, bool adjoint, const TensorView& workspace, uintptr_t stream);

// out (points) float32: n = 1 / (filter(1) + 1e-20), or with `root` its square root. Workspace as for one channel.
void norm_cuda(const std::shared_ptr<CudaLattice>& lattice, bool root, const TensorView& out,
               const TensorView& workspace, uintptr_t stream);

}  // namespace deeplab::lattice
