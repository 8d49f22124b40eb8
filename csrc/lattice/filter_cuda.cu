#include "filter_cuda.h"
#include "rows.cuh"

namespace deeplab::lattice {
namespace {

// Jobs of one launch, by blockIdx.y; a kernel's arguments hold 4 KiB.
constexpr int kMaxJobs = 16;
struct Jobs {
  FilterJob job[kMaxJobs];
};
static_assert(sizeof(Jobs) <= 3584, "too many arguments for a kernel");

// One thread per segment of entries and column. A vertex that lies within the segment is done; sums of one that begins
// before it go to partial[0], of one that goes on behind it to partial[1].
template <typename Storage>
__global__ void splat_kernel(const __grid_constant__ Jobs jobs, int64_t vectors) {
  constexpr int kBatch = 4;  // loads in flight
  const FilterJob& job = jobs.job[blockIdx.y];
  const float4* __restrict__ rows = reinterpret_cast<const float4*>(job.rows);
  const float* __restrict__ factor = job.factor;
  const Entry* __restrict__ entries = job.lattice.entry;
  Storage* values = static_cast<Storage*>(job.front);
  float4* partial = reinterpret_cast<float4*>(job.partial);
  const float4 zero = make_float4(0.f, 0.f, 0.f, 0.f);
  if (blockIdx.x == 0 && threadIdx.y == 0) {
    DEEPLAB_COLUMN_LOOP(column, vectors) {
      store(values + column, zero);
      store(static_cast<Storage*>(job.back) + column, zero);
    }
  }
  DEEPLAB_ROW_LOOP(segment, job.lattice.segments()) {
    const int64_t begin = segment * kSegment;
    const int64_t end = begin + kSegment < job.lattice.entries ? begin + kSegment : job.lattice.entries;
    DEEPLAB_COLUMN_LOOP(column, vectors) {
      int32_t vertex = job.lattice.segment_vertex[segment];
      bool open = entries[begin].point >= 0;  // began before this segment
      float4 sum = zero;
      for (int64_t first = begin; first < end; first += kBatch) {
        Entry entry[kBatch];
        float4 row[kBatch];
#pragma unroll
        for (int i = 0; i < kBatch; ++i) {
          entry[i] = first + i < end ? entries[first + i] : Entry{0, 0.f};
          const int32_t point = entry[i].point & INT32_MAX;
          row[i] = rows ? rows[point * vectors + column] : make_float4(1.f, 1.f, 1.f, 1.f);
          if (factor) entry[i].weight *= factor[point];
        }
#pragma unroll
        for (int i = 0; i < kBatch; ++i) {
          if (entry[i].point < 0 && first + i > begin) {
            if (open) {
              partial[2 * segment * vectors + column] = sum;
            } else {
              store(values + vertex * vectors + column, scaled(job.scale, sum));
            }
            ++vertex;
            open = false;
            sum = zero;
          }
          if (first + i < end) sum = add(sum, scaled(entry[i].weight, row[i]));
        }
      }
      const bool complete = end == job.lattice.entries || entries[end].point < 0;
      if (complete && !open) {
        store(values + vertex * vectors + column, scaled(job.scale, sum));
      } else {
        partial[(2 * segment + (open ? 0 : 1)) * vectors + column] = sum;
      }
    }
  }
}

struct Span {
  int64_t first, last;  // segments

  __device__ Span(const DeviceLattice& lattice, int64_t vertex)
      : first(lattice.row_start[vertex - 1] / kSegment), last((lattice.row_start[vertex] - 1) / kSegment) {}
  __device__ bool heavy() const { return last - first >= kHeavySegments; }
};

// Adds up the vertices that splat_kernel left in parts: those with a few parts by a few threads, the others by a block
// each, in an order that depends on nothing but the block's size.
template <typename Storage>
__global__ void join_kernel(const __grid_constant__ Jobs jobs, int64_t vectors) {
  __shared__ float4 sums[kThreadsPerBlock];
  const FilterJob& job = jobs.job[blockIdx.y];
  Storage* values = static_cast<Storage*>(job.front);
  const float4* __restrict__ partial = reinterpret_cast<const float4*>(job.partial);
  DEEPLAB_ROW_LOOP(row, job.lattice.status->vertices) {
    const Span span(job.lattice, row + 1);
    if (span.first == span.last || span.heavy()) continue;
    DEEPLAB_COLUMN_LOOP(column, vectors) {
      float4 sum = partial[(2 * span.first + 1) * vectors + column];
      for (int64_t s = span.first + 1; s <= span.last; ++s) sum = add(sum, partial[2 * s * vectors + column]);
      store(values + (row + 1) * vectors + column, scaled(job.scale, sum));
    }
  }
  const int32_t heavy = job.lattice.status->heavy;
  for (int32_t i = blockIdx.x; i < heavy; i += gridDim.x) {
    const int64_t vertex = job.lattice.heavy[i];
    const Span span(job.lattice, vertex);
    for (int64_t first_column = 0; first_column < vectors; first_column += blockDim.x) {
      const int64_t column = first_column + threadIdx.x;
      float4 sum = make_float4(0.f, 0.f, 0.f, 0.f);
      if (column < vectors) {
        for (int64_t s = span.first + threadIdx.y; s <= span.last; s += blockDim.y) {
          sum = add(sum, partial[(2 * s + (s == span.first ? 1 : 0)) * vectors + column]);
        }
      }
      sums[threadIdx.y * blockDim.x + threadIdx.x] = sum;
      __syncthreads();
      if (threadIdx.y == 0 && column < vectors) {
        for (unsigned int y = 1; y < blockDim.y; ++y) sum = add(sum, sums[y * blockDim.x + threadIdx.x]);
        store(values + vertex * vectors + column, scaled(job.scale, sum));
      }
      __syncthreads();
    }
  }
}

// The `turn`-th axis of each job's lattice.
template <typename Storage>
__global__ void blur_kernel(const __grid_constant__ Jobs jobs, int64_t vectors, int turn, bool adjoint) {
  const FilterJob& job = jobs.job[blockIdx.y];
  if (turn > job.lattice.dims) return;
  const int axis = adjoint ? job.lattice.dims - turn : turn;
  const NeighbourPair* __restrict__ neighbours = job.lattice.neighbours + axis * job.lattice.capacity;
  const Storage* __restrict__ from = static_cast<const Storage*>(turn % 2 ? job.back : job.front);
  Storage* __restrict__ to = static_cast<Storage*>(turn % 2 ? job.front : job.back);
  DEEPLAB_ROW_LOOP(row, job.lattice.status->vertices) {
    const NeighbourPair pair = neighbours[row];
    DEEPLAB_COLUMN_LOOP(column, vectors) {
      const float4 old = load(from + (row + 1) * vectors + column);
      const float4 before = load(from + pair.before * vectors + column);
      const float4 after = load(from + pair.after * vectors + column);
      store(to + (row + 1) * vectors + column, add(old, scaled(0.5f, add(before, after))));
    }
  }
}

template <typename Storage>
void splat_and_blur(const Jobs& jobs, int count, int64_t vectors, bool adjoint, int device, uintptr_t stream) {
  int64_t segments = 0, vertices = 0;
  int turns = 0;
  for (int i = 0; i < count; ++i) {
    segments = std::max(segments, jobs.job[i].lattice.segments());
    vertices = std::max(vertices, jobs.job[i].lattice.capacity);
    turns = std::max(turns, jobs.job[i].lattice.dims + 1);
  }
  const dim3 block = row_block(vectors);
  const auto grid = [&](int64_t rows) { return dim3(resident_blocks(device, rows, block.y), count); };
  launch("splat", splat_kernel<Storage>, grid(segments), block, stream, jobs, vectors);
  launch("splat", join_kernel<Storage>, grid(vertices), block, stream, jobs, vectors);
  for (int turn = 0; turn < turns; ++turn) {
    launch("blur", blur_kernel<Storage>, grid(vertices), block, stream, jobs, vectors, turn, adjoint);
  }
}

__global__ void pad_kernel(const float* values, int64_t stride_point, int64_t stride_channel, float* rows,
                           int64_t points, int64_t channels, int64_t width) {
  DEEPLAB_GRID_STRIDE_LOOP(index, points * width) {
    const int64_t point = index / width, channel = index % width;
    rows[index] = channel < channels ? values[point * stride_point + channel * stride_channel] : 0.f;
  }
}

__global__ void slice_kernel(DeviceLattice lattice, const float4* values, int64_t vectors, float* out,
                             int64_t channels) {
  DEEPLAB_ROW_LOOP(point, lattice.points) {
    DEEPLAB_COLUMN_LOOP(column, vectors) {
      const float4 sum =
          slice(lattice.point_vertex, lattice.point_share, point, lattice.dims + 1, values, vectors, column);
      const float lanes[4] = {sum.x, sum.y, sum.z, sum.w};
      for (int i = 0; i < 4 && column * 4 + i < channels; ++i) out[point * channels + column * 4 + i] = lanes[i];
    }
  }
}

__global__ void norm_kernel(DeviceLattice lattice, const float4* values, bool root, float* norm) {
  DEEPLAB_GRID_STRIDE_LOOP(point, lattice.points) {
    const float sum = slice(lattice.point_vertex, lattice.point_share, point, lattice.dims + 1, values, 1, 0).x;
    norm[point] = 1.f / (root ? sqrtf(sum + 1e-20f) : sum + 1e-20f);
  }
}

FilterJob prepare(const CudaLattice& lattice, Carver& carver, int64_t width) {
  DEEPLAB_CHECK(lattice.connected(), "a lattice is built and connected before it filters");
  FilterJob job{};
  job.lattice = lattice.view();
  job.scale = 1.f;
  job.place(carver, width, false);
  return job;
}

}  // namespace

void FilterJob::place(Carver& carver, int64_t width, bool half) {
  const int64_t bytes = (lattice.capacity + 1) * width * static_cast<int64_t>(half ? sizeof(__half) : sizeof(float));
  front = carver.take<char>(bytes);
  back = carver.take<char>(bytes);
  partial = carver.take<float>(lattice.segments() * 2 * width);
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

int64_t filter_workspace_bytes(const CudaLattice& lattice, int64_t channels) {
  Carver carver(nullptr);
  prepare(lattice, carver, cuda_width(channels));
  carver.take<float>(lattice.points() * cuda_width(channels));
  return carver.bytes();
}

void filter_cuda(const CudaLattice& lattice, const TensorView& values, const TensorView& out, bool adjoint,
                 const TensorView& workspace, uintptr_t stream) {
  const int64_t channels = values.size(1), width = cuda_width(channels), points = lattice.points();
  check_cuda_memory(workspace, "workspace", lattice.device(), filter_workspace_bytes(lattice, channels));
  DeviceGuard guard(lattice.device());
  Carver carver(workspace.data);
  FilterJob job = prepare(lattice, carver, width);
  float* rows = carver.take<float>(points * width);
  job.rows = rows;
  launch("filter", pad_kernel, blocks_for(points * width), kThreadsPerBlock, stream, values.ptr<const float>(),
         values.stride(0), values.stride(1), rows, points, channels, width);
  splat_and_blur({job}, width, false, adjoint, lattice.device(), stream);
  const dim3 block = row_block(width / 4);
  launch("filter", slice_kernel, resident_blocks(lattice.device(), points, block.y), block, stream, job.lattice,
         static_cast<const float4*>(job.blurred()), width / 4, out.ptr<float>(), channels);
}

void norm_cuda(const CudaLattice& lattice, bool root, const TensorView& out, const TensorView& workspace,
               uintptr_t stream) {
  check_sizes(out, "out", {lattice.points()});
  check_dtype(out, "out", DType::kFloat32);
  check_contiguous(out, "out");
  DEEPLAB_CHECK(out.device == lattice.device(), "out: expected a tensor on cuda:", lattice.device(), ", got ",
                out.describe());
  check_cuda_memory(workspace, "workspace", lattice.device(), filter_workspace_bytes(lattice, 1));
  DeviceGuard guard(lattice.device());
  Carver carver(workspace.data);
  const FilterJob job = prepare(lattice, carver, cuda_width(1));
  splat_and_blur({job}, cuda_width(1), false, false, lattice.device(), stream);
  launch("kernel norms", norm_kernel, blocks_for(lattice.points()), kThreadsPerBlock, stream, job.lattice,
         static_cast<const float4*>(job.blurred()), root, out.ptr<float>());
}

}  // namespace deeplab::lattice
