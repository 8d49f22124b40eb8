// The kernels that build a lattice; build_cuda.cu says in which order. No host code: this also compiles at run time
// (NVRTC).
#pragma once

#include <cstdint>
#include <type_traits>

#include "../common/loops.cuh"
#include "device_lattice.h"
#include "packing.h"

namespace deeplab::lattice {

// Feature `i` of a point. A value outside of the feature's range, or NaN, would overflow its field of the key.
__device__ float load_feature(const FeatureSource& source, int32_t point, int i, bool& beyond) {
  const int32_t y = point / source.width, x = point - y * source.width;
  float value;
  if (i < source.positions) {
    value = static_cast<float>(i == 0 ? x : y);
  } else {
    const int64_t offset = y * source.strides[0] + x * source.strides[1] + (i - source.positions) * source.strides[2];
    value = source.is_byte ? static_cast<float>(static_cast<const uint8_t*>(source.data)[offset])
                           : static_cast<const float*>(source.data)[offset];
  }
  if (!(value >= source.low[i] && value <= source.high[i])) {
    beyond = true;
    value = source.low[i];
  }
  return value / source.divisor[i];
}

// One thread per point, and one more for the padding: the vertices around feature 0, whose entries have weight 0.
template <typename Key, typename dims_t>
__global__ void locate_kernel(FeatureSource source, Scale scale, Packing<Key> packing, DeviceLattice lattice, Key* keys,
                              uint32_t* order, float* weights, float alpha) {
  constexpr int Dims = dims_t::value;  // 0: known at run time only
  const int dims = Dims ? Dims : lattice.dims;
  const int corners = dims + 1;
  DEEPLAB_GRID_STRIDE_LOOP(index, lattice.entries / corners) {
    const int32_t point = static_cast<int32_t>(index);
    const bool padding = point >= lattice.points;
    float feature[Dims ? Dims : kMaxDims];
    bool beyond = false;
    for (int i = 0; i < dims; ++i) feature[i] = padding ? 0.f : load_feature(source, point, i, beyond);
    if (beyond) lattice.status->beyond = 1;

    Simplex<Dims ? Dims : kMaxDims> simplex;
    locate<Dims>(feature, scale.factor, dims, simplex);
    Key key = packing.pack(simplex.base, dims);
    for (int r = 0; r < corners; ++r) {
      if (r > 0) key += packing.step(simplex.at_rank[corners - r], dims);
      const int64_t entry = index * corners + r;
      // A caller who does not check the status must not mistake the result for a valid one.
      const float weight = padding ? 0.f : beyond ? nanf("") : simplex.weight[r];
      keys[entry] = key;
      order[entry] = static_cast<uint32_t>(entry);
      weights[entry] = weight;
      lattice.point_share[entry] = weight * alpha;
    }
  }
}

template <typename Key, typename upper_t>
__global__ void half_keys_kernel(const Key* keys, const uint32_t* order, uint64_t* halves, int64_t count) {
  DEEPLAB_GRID_STRIDE_LOOP(i, count) {
    halves[i] = upper_t::value ? static_cast<uint64_t>(keys[order[i]] >> 64) : static_cast<uint64_t>(keys[i]);
  }
}

template <typename Key>
__global__ void ordered_keys_kernel(const Key* keys, const uint32_t* order, Key* ordered, int64_t count) {
  DEEPLAB_GRID_STRIDE_LOOP(i, count) { ordered[i] = keys[order[i]]; }
}

template <typename Key>
__device__ bool starts_vertex(const Key* keys, int64_t position) {
  return position == 0 || keys[position] != keys[position - 1];
}

// Number of vertices whose first key is among each block's kScanItems keys.
template <typename Key>
__global__ void count_kernel(const Key* keys, int64_t entries, int32_t* counts) {
  int total = 0;
  for (int round = 0; round < kScanItems / kThreadsPerBlock; ++round) {
    const int64_t position = blockIdx.x * int64_t{kScanItems} + round * kThreadsPerBlock + threadIdx.x;
    total += __syncthreads_count(position < entries && starts_vertex(keys, position));
  }
  if (threadIdx.x == 0) counts[blockIdx.x] = total;
}

// Exclusive sums of the blocks' counts, in place, by one block.
__global__ void scan_kernel(int32_t* counts, int32_t blocks, Status* status) {
  __shared__ int32_t sums[kScanThreads];
  const int thread = static_cast<int>(threadIdx.x);
  int32_t before = 0;
  for (int32_t first = 0; first < blocks; first += kScanThreads) {
    const int32_t block = first + thread;
    const int32_t own = block < blocks ? counts[block] : 0;
    sums[thread] = own;
    __syncthreads();
    for (int reach = 1; reach < kScanThreads; reach *= 2) {
      const int32_t left = thread >= reach ? sums[thread - reach] : 0;
      __syncthreads();
      sums[thread] += left;
      __syncthreads();
    }
    if (block < blocks) counts[block] = before + sums[thread] - own;
    before += sums[kScanThreads - 1];
    __syncthreads();
  }
  if (thread == 0) status->vertices = before;
}

// Numbers the vertices from 1, and writes both lists. `counts`: vertices before each block's keys.
template <typename Key>
__global__ void number_kernel(const Key* keys, const uint32_t* order, const float* weights, const int32_t* counts,
                              Key* vertex_keys, DeviceLattice lattice) {
  constexpr int kWarps = kThreadsPerBlock / 32;
  __shared__ int32_t warp_starts[kWarps];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int32_t entries = lattice.entries, corners = lattice.dims + 1;
  int32_t before = counts[blockIdx.x];
  for (int round = 0; round < kScanItems / kThreadsPerBlock; ++round) {
    const int64_t position = blockIdx.x * int64_t{kScanItems} + round * kThreadsPerBlock + threadIdx.x;
    const bool inside = position < entries;
    const bool starts = inside && starts_vertex(keys, position);
    const unsigned int ballot = __ballot_sync(kWholeWarp, starts);
    if (lane == 0) warp_starts[warp] = __popc(ballot);
    __syncthreads();
    int32_t vertex = before + __popc(ballot & (kWholeWarp >> (31 - lane)));
    for (int w = 0; w < kWarps; ++w) {
      if (w < warp) vertex += warp_starts[w];
      before += warp_starts[w];
    }
    __syncthreads();
    if (!inside) continue;
    const int32_t entry = static_cast<int32_t>(order[position]);
    const int32_t point = entry / corners;
    // The padding's entries have weight 0, so any point will do.
    const uint32_t marked = static_cast<uint32_t>(point < lattice.points ? point : 0) | (starts ? 0x80000000u : 0u);
    lattice.entry[position] = {static_cast<int32_t>(marked), weights[entry]};
    lattice.point_vertex[entry] = vertex;
    if (starts) {
      lattice.row_start[vertex - 1] = static_cast<int32_t>(position);
      vertex_keys[vertex - 1] = keys[position];
    }
    if (position % kSegment == 0) lattice.segment_vertex[position / kSegment] = vertex;
    if (position == entries - 1) lattice.row_start[vertex] = entries;
  }
}

// Number of a key's vertex; 0 if there is no such vertex.
template <typename Key>
__device__ int32_t find(const Key* keys, int32_t count, Key key) {
  int32_t low = 0, high = count;
  while (low < high) {
    const int32_t middle = low + (high - low) / 2;
    if (keys[middle] < key) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low < count && keys[low] == key ? low + 1 : 0;
}

// One thread per vertex and axis. All neighbours along an axis lie the same step of keys away, so the threads of a warp
// search almost the same places.
template <typename Key>
__global__ void connect_kernel(const Key* keys, Packing<Key> packing, DeviceLattice lattice) {
  const int32_t vertices = lattice.status->vertices;
  const int axis = static_cast<int>(blockIdx.y);
  const Key step = packing.step(axis, lattice.dims);
  DEEPLAB_GRID_STRIDE_LOOP(vertex, vertices) {
    lattice.neighbours[axis * lattice.capacity + vertex] = {
        find(keys, vertices, static_cast<Key>(keys[vertex] - step)),
        find(keys, vertices, static_cast<Key>(keys[vertex] + step))};
    const int32_t first = lattice.row_start[vertex] / kSegment, last = (lattice.row_start[vertex + 1] - 1) / kSegment;
    if (axis == 0 && last - first >= kHeavySegments) {
      lattice.heavy[atomicAdd(&lattice.status->heavy, 1)] = static_cast<int32_t>(vertex + 1);
    }
  }
}

}  // namespace deeplab::lattice
