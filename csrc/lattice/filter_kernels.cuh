// The kernels of a filter; filter_cuda.cu says in which order. No host code: this also compiles at run time (NVRTC).
#pragma once

#include "device_lattice.h"
#include "norm.h"
#include "rows.cuh"

namespace deeplab::lattice {

// One thread per segment of entries and column. The sum of a vertex within the segment is complete. The sum of a vertex
// that begins before the segment goes to partial[0], that of one that continues behind it to partial[1].
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

// Adds up the partial sums of splat_kernel: a vertex with a few parts by a few threads, the others by a block each, in
// an order that depends only on the block's size.
template <typename Storage>
__global__ void join_kernel(const __grid_constant__ Jobs jobs, int64_t vectors) {
  __shared__ float4 sums[kThreadsPerBlock];
  const FilterJob& job = jobs.job[blockIdx.y];
  Storage* values = static_cast<Storage*>(job.front);
  const float4* __restrict__ partial = reinterpret_cast<const float4*>(job.partial);
  const int32_t vertices = job.lattice.status->vertices;
  DEEPLAB_ROW_LOOP(row, vertices) {
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
__global__ void blur_kernel(const __grid_constant__ Jobs jobs, int64_t vectors, int32_t turn, int32_t adjoint) {
  const FilterJob& job = jobs.job[blockIdx.y];
  if (turn > job.lattice.dims) return;
  const int axis = adjoint ? job.lattice.dims - turn : turn;
  const NeighbourPair* __restrict__ neighbours = job.lattice.neighbours + axis * job.lattice.capacity;
  const Storage* __restrict__ from = static_cast<const Storage*>(turn % 2 ? job.back : job.front);
  Storage* __restrict__ to = static_cast<Storage*>(turn % 2 ? job.front : job.back);
  const int32_t vertices = job.lattice.status->vertices;
  DEEPLAB_ROW_LOOP(row, vertices) {
    const NeighbourPair pair = neighbours[row];
    DEEPLAB_COLUMN_LOOP(column, vectors) {
      const float4 old = load(from + (row + 1) * vectors + column);
      const float4 before = load(from + pair.before * vectors + column);
      const float4 after = load(from + pair.after * vectors + column);
      store(to + (row + 1) * vectors + column, add(old, scaled(0.5f, add(before, after))));
    }
  }
}

// Multiplies each vertex' row with the costs: with one row of costs, each label with its own; else the sum over all
// labels k of its value times costs[k]. Slicing is linear, so that this can be done for the vertices, which are fewer
// than the pixels.
template <typename Storage>
__global__ void cost_kernel(const __grid_constant__ Jobs jobs, int64_t vectors) {
  const FilterJob& job = jobs.job[blockIdx.y];
  if (!job.costs) return;
  const float4* __restrict__ costs = reinterpret_cast<const float4*>(job.costs);
  const Storage* __restrict__ from = static_cast<const Storage*>(job.blurred());
  Storage* __restrict__ to = static_cast<Storage*>(job.values());
  const int32_t vertices = job.lattice.status->vertices;
  DEEPLAB_ROW_LOOP(row, vertices) {
    const Storage* own = from + (row + 1) * vectors;
    DEEPLAB_COLUMN_LOOP(column, vectors) {
      float4 sum = make_float4(0.f, 0.f, 0.f, 0.f);
      if (job.cost_rows == 1) {
        sum = product(load(own + column), costs[column]);
      } else {
        for (int64_t k = 0; k < vectors; ++k) {
          const float4 four = load(own + k);
          const float4* rows = costs + 4 * k * vectors + column;
          sum = add(sum, scaled(four.x, rows[0]));
          sum = add(sum, scaled(four.y, rows[vectors]));
          sum = add(sum, scaled(four.z, rows[2 * vectors]));
          sum = add(sum, scaled(four.w, rows[3 * vectors]));
        }
      }
      store(to + (row + 1) * vectors + column, sum);
    }
  }
}

// values (item, point, channel) of any strides -> rows (item, point, width), 0 behind the last channel
__global__ void pad_kernel(const float* values, int64_t stride_item, int64_t stride_point, int64_t stride_channel,
                           float* rows, int64_t items, int64_t points, int64_t channels, int64_t width) {
  DEEPLAB_GRID_STRIDE_LOOP(index, items * points * width) {
    const int64_t row = index / width, channel = index - row * width;
    const int64_t item = row / points, point = row - item * points;
    const int64_t offset = item * stride_item + point * stride_point + channel * stride_channel;
    rows[index] = channel < channels ? values[offset] : 0.f;
  }
}

// Job `y` of the launch writes out (points, channels) of item `y`.
__global__ void slice_kernel(const __grid_constant__ Jobs jobs, int64_t vectors, float* out, int64_t channels) {
  const DeviceLattice& lattice = jobs.job[blockIdx.y].lattice;
  const float4* __restrict__ values = static_cast<const float4*>(jobs.job[blockIdx.y].blurred());
  float* own = out + static_cast<int64_t>(blockIdx.y) * lattice.points * channels;
  DEEPLAB_ROW_LOOP(point, lattice.points) {
    DEEPLAB_COLUMN_LOOP(column, vectors) {
      const float4 sum =
          slice(lattice.point_vertex, lattice.point_share, point, lattice.dims + 1, values, vectors, column);
      const float lanes[4] = {sum.x, sum.y, sum.z, sum.w};
      for (int i = 0; i < 4 && column * 4 + i < channels; ++i) own[point * channels + column * 4 + i] = lanes[i];
    }
  }
}

__global__ void norm_kernel(const __grid_constant__ FilterJob job, int32_t root, float* norm) {
  const DeviceLattice& lattice = job.lattice;
  const float4* __restrict__ values = static_cast<const float4*>(job.blurred());
  DEEPLAB_GRID_STRIDE_LOOP(point, lattice.points) {
    const float sum = slice(lattice.point_vertex, lattice.point_share, point, lattice.dims + 1, values, 1, 0).x;
    const float inverse = norm_factor(sum);
    norm[point] = root ? sqrtf(inverse) : inverse;
  }
}

}  // namespace deeplab::lattice
