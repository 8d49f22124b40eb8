#include <algorithm>

#include "../common/launch.cuh"
#include "filter_cuda.h"
#include "filter_kernels.cuh"

namespace deeplab::lattice {
namespace {

// A block whose threads run over the columns of a row, then over rows: a warp's accesses are whole rows.
inline dim3 row_block(int64_t vectors) {
  const unsigned int columns = static_cast<unsigned int>(std::min<int64_t>(vectors, kThreadsPerBlock));
  return dim3(columns, kThreadsPerBlock / columns);
}

template <typename Storage>
void splat_and_blur(const Jobs& jobs, int count, int64_t vectors, bool adjoint, int device, uintptr_t stream) {
  int64_t segments = 0, vertices = 0;
  int turns = 0;
  bool with_costs = false;
  for (int i = 0; i < count; ++i) {
    segments = std::max(segments, jobs.job[i].lattice.segments());
    vertices = std::max(vertices, jobs.job[i].lattice.capacity);
    turns = std::max(turns, jobs.job[i].lattice.dims + 1);
    with_costs |= jobs.job[i].costs != nullptr;
  }
  const dim3 block = row_block(vectors);
  const auto grid = [&](int64_t rows) { return dim3(resident_blocks(device, rows, block.y), count); };
  launch("splat", splat_kernel<Storage>, grid(segments), block, stream, jobs, vectors);
  launch("splat", join_kernel<Storage>, grid(vertices), block, stream, jobs, vectors);
  for (int turn = 0; turn < turns; ++turn) {
    launch("blur", blur_kernel<Storage>, grid(vertices), block, stream, jobs, vectors, turn, adjoint);
  }
  if (with_costs) launch("label costs", cost_kernel<Storage>, grid(vertices), block, stream, jobs, vectors);
}

FilterJob prepare(const CudaLattice& lattice, Carver& carver, int64_t width) {
  DEEPLAB_CHECK(lattice.connected(), "a lattice is built and connected before it filters");
  FilterJob job{};
  job.lattice = lattice.view();
  job.scale = 1.f;
  place(job, carver, width, false);
  return job;
}

}  // namespace

void place(FilterJob& job, Carver& carver, int64_t width, bool half) {
  const int64_t bytes =
      (job.lattice.capacity + 1) * width * static_cast<int64_t>(half ? sizeof(__half) : sizeof(float));
  job.front = carver.take<char>(bytes);
  job.back = carver.take<char>(bytes);
  job.partial = carver.take<float>(job.lattice.segments() * 2 * width);
}

void splat_and_blur(const std::vector<FilterJob>& jobs, int64_t width, bool half, bool adjoint, int device,
                    uintptr_t stream) {
  for (size_t first = 0; first < jobs.size(); first += kMaxJobs) {
    const int count = static_cast<int>(std::min<size_t>(kMaxJobs, jobs.size() - first));
    Jobs some{};
    std::copy_n(jobs.begin() + static_cast<int64_t>(first), count, some.job);
    if (half) {
      splat_and_blur<Half4>(some, count, width / 4, adjoint, device, stream);
    } else {
      splat_and_blur<float4>(some, count, width / 4, adjoint, device, stream);
    }
  }
}

int64_t filter_workspace_bytes(const std::vector<std::shared_ptr<CudaLattice>>& lattices, int64_t channels) {
  Carver carver(nullptr);
  for (const auto& lattice : lattices) {
    prepare(*lattice, carver, cuda_width(channels));
    carver.take<float>(lattice->points() * cuda_width(channels));
  }
  return carver.bytes();
}

void filter_cuda(const std::vector<std::shared_ptr<CudaLattice>>& lattices, const TensorView& values,
                 const TensorView& out, bool adjoint, const TensorView& workspace, uintptr_t stream) {
  const int64_t items = values.size(0), points = values.size(1), channels = values.size(2);
  if (items == 0 || channels == 0) return;
  const int64_t width = cuda_width(channels);
  const int device = lattices[0]->device();
  check_cuda_memory(workspace, "workspace", device, filter_workspace_bytes(lattices, channels));
  DeviceGuard guard(device);
  Carver carver(workspace.data);
  float* rows = carver.take<float>(items * points * width);
  launch("filter", pad_kernel, blocks_for(items * points * width), kThreadsPerBlock, stream, values.ptr<const float>(),
         values.stride(0), values.stride(1), values.stride(2), rows, items, points, channels, width);
  const dim3 block = row_block(width / 4);
  for (int64_t first = 0; first < items; first += kMaxJobs) {
    const int count = static_cast<int>(std::min<int64_t>(kMaxJobs, items - first));
    Jobs jobs{};
    for (int i = 0; i < count; ++i) {
      jobs.job[i] = prepare(*lattices[first + i], carver, width);
      jobs.job[i].rows = rows + (first + i) * points * width;
    }
    splat_and_blur<float4>(jobs, count, width / 4, adjoint, device, stream);
    launch("filter", slice_kernel, dim3(resident_blocks(device, points, block.y), count), block, stream, jobs,
           width / 4, out.ptr<float>() + first * points * channels, channels);
  }
}

void norm_cuda(const std::shared_ptr<CudaLattice>& lattice, bool root, const TensorView& out,
               const TensorView& workspace, uintptr_t stream) {
  check_sizes(out, "out", {lattice->points()});
  check_dtype(out, "out", DType::kFloat32);
  check_contiguous(out, "out");
  DEEPLAB_CHECK(out.device == lattice->device(), "out: expected a tensor on cuda:", lattice->device(), ", got ",
                out.describe());
  check_cuda_memory(workspace, "workspace", lattice->device(), filter_workspace_bytes({lattice}, 1));
  DeviceGuard guard(lattice->device());
  Carver carver(workspace.data);
  const FilterJob job = prepare(*lattice, carver, cuda_width(1));
  splat_and_blur({job}, cuda_width(1), false, false, lattice->device(), stream);
  launch("kernel norms", norm_kernel, blocks_for(lattice->points()), kThreadsPerBlock, stream, job, root,
         out.ptr<float>());
}

}  // namespace deeplab::lattice
