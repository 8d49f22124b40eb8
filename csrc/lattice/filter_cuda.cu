#include <algorithm>

#include "../common/device_runtime.h"
#include "../common/kernel_launch.h"
#include "filter_cuda.h"
#include "row_types.h"
#ifdef DEEPLAB_WITH_CUDA
#include "filter_kernels.cuh"
#endif

namespace deeplab::lattice {
namespace {

constexpr const char* kSource = "lattice/filter_kernels.cuh";

// A launch over rows of this many columns for each job. A block's threads run over the columns of a row first, then
// over rows, so that a warp accesses whole rows.
Launch launch_rows(const char* what, int device, uintptr_t stream, int64_t rows, int64_t vectors, int jobs) {
  const unsigned int columns = static_cast<unsigned int>(std::min<int64_t>(vectors, kThreadsPerBlock));
  const unsigned int per_block = kThreadsPerBlock / columns;
  return {what,
          device,
          stream,
          {resident_blocks(device, rows, per_block), static_cast<unsigned int>(jobs), 1},
          {columns, per_block, 1}};
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
  const auto over = [&](const char* what, int64_t rows) {
    return launch_rows(what, device, stream, rows, vectors, count);
  };
  launch_kernel(over("splat", segments), DEEPLAB_KERNEL(kSource, deeplab::lattice::splat_kernel, Storage), jobs,
                vectors);
  launch_kernel(over("splat", vertices), DEEPLAB_KERNEL(kSource, deeplab::lattice::join_kernel, Storage), jobs,
                vectors);
  for (int32_t turn = 0; turn < turns; ++turn) {
    launch_kernel(over("blur", vertices), DEEPLAB_KERNEL(kSource, deeplab::lattice::blur_kernel, Storage), jobs,
                  vectors, turn, static_cast<int32_t>(adjoint));
  }
  if (with_costs) {
    launch_kernel(over("label costs", vertices), DEEPLAB_KERNEL(kSource, deeplab::lattice::cost_kernel, Storage), jobs,
                  vectors);
  }
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
  const int64_t bytes = (job.lattice.capacity + 1) * width * (half ? 2 : 4);
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
  Carver carver(workspace.data);
  float* rows = carver.take<float>(items * points * width);
  launch_kernel(launch_over("filter", device, stream, items * points * width),
                DEEPLAB_PLAIN_KERNEL(kSource, deeplab::lattice::pad_kernel), values.ptr<const float>(),
                values.stride(0), values.stride(1), values.stride(2), rows, items, points, channels, width);
  for (int64_t first = 0; first < items; first += kMaxJobs) {
    const int count = static_cast<int>(std::min<int64_t>(kMaxJobs, items - first));
    Jobs jobs{};
    for (int i = 0; i < count; ++i) {
      jobs.job[i] = prepare(*lattices[first + i], carver, width);
      jobs.job[i].rows = rows + (first + i) * points * width;
    }
    splat_and_blur<float4>(jobs, count, width / 4, adjoint, device, stream);
    launch_kernel(launch_rows("filter", device, stream, points, width / 4, count),
                  DEEPLAB_PLAIN_KERNEL(kSource, deeplab::lattice::slice_kernel), jobs, width / 4,
                  out.ptr<float>() + first * points * channels, channels);
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
  Carver carver(workspace.data);
  const FilterJob job = prepare(*lattice, carver, cuda_width(1));
  splat_and_blur({job}, cuda_width(1), false, false, lattice->device(), stream);
  launch_kernel(launch_over("kernel norms", lattice->device(), stream, lattice->points()),
                DEEPLAB_PLAIN_KERNEL(kSource, deeplab::lattice::norm_kernel), job, static_cast<int32_t>(root),
                out.ptr<float>());
}

}  // namespace deeplab::lattice
