// Building the lattice on a GPU: every corner of every simplex writes its key; the keys are sorted, stably, so that
// equal ones stand side by side in the order of their points; runs of equal keys are numbered, which gives both lists,
// by vertex and by point; the neighbours are found in the sorted keys. No atomics decide anything but the order of a
// list whose order does not matter, so the lattice is the same in every run.
#include <cub/device/device_radix_sort.cuh>

#include "../common/carve.h"
#include "../common/launch.cuh"
#include "lattice_cuda.h"

namespace deeplab::lattice {
namespace {

__extension__ typedef unsigned __int128 uint128_t;

constexpr int kScanThreads = 1024;
constexpr int kScanItems = 2048;  // entries that a block numbers
constexpr unsigned int kWholeWarp = 0xffffffffu;

struct Scale {
  float factor[kMaxDims];
};

// As Packing in key_table.h.
template <typename Key>
struct DevicePacking {
  int32_t low[kMaxDims];
  Key unit[kMaxDims];
  Key ones;

  DEEPLAB_HOST_DEVICE Key pack(const int32_t* coordinates, int dims) const {
    Key key = 0;
    for (int i = 0; i < dims; ++i) key += static_cast<Key>(static_cast<uint32_t>(coordinates[i] - low[i])) * unit[i];
    return key;
  }
  // What a vertex' key is larger by than that of its neighbour `before` along an axis, modulo the word.
  DEEPLAB_HOST_DEVICE Key step(int axis, int dims) const {
    return ones - (axis < dims ? unit[axis] * Key(dims + 1) : Key(0));
  }
};

template <typename Key>
DevicePacking<Key> make_packing(const KeyFields& fields, int dims) {
  DevicePacking<Key> packing{};
  int shift = 0;
  for (int i = 0; i < dims; ++i) {
    packing.low[i] = fields.low[i];
    packing.unit[i] = Key(1) << shift;
    packing.ones += packing.unit[i];
    shift += fields.width[i];
  }
  return packing;
}

// Feature `i` of a point. What is outside its range, or not a number, would leave the key's fields.
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

// One thread per point; one more for the vertices around feature 0, whose entries weigh nothing.
template <typename Key, int Dims>
__global__ void locate_kernel(FeatureSource source, Scale scale, DevicePacking<Key> packing, DeviceLattice lattice,
                              Key* keys, uint32_t* order, float* weights, float alpha) {
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
      // A caller who does not look at the status must not take the result for one.
      const float weight = padding ? 0.f : beyond ? nanf("") : simplex.weight[r];
      keys[entry] = key;
      order[entry] = static_cast<uint32_t>(entry);
      weights[entry] = weight;
      lattice.point_share[entry] = weight * alpha;
    }
  }
}

template <bool upper>
__global__ void half_keys_kernel(const uint128_t* keys, const uint32_t* order, uint64_t* halves, int64_t count) {
  DEEPLAB_GRID_STRIDE_LOOP(i, count) {
    halves[i] = upper ? static_cast<uint64_t>(keys[order[i]] >> 64) : static_cast<uint64_t>(keys[i]);
  }
}

__global__ void ordered_keys_kernel(const uint128_t* keys, const uint32_t* order, uint128_t* ordered, int64_t count) {
  DEEPLAB_GRID_STRIDE_LOOP(i, count) { ordered[i] = keys[order[i]]; }
}

template <typename Key>
__device__ bool starts_vertex(const Key* keys, int64_t position) {
  return position == 0 || keys[position] != keys[position - 1];
}

// Vertices that start in each block's kScanItems keys.
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
    // The padding's entries weigh nothing: any point will do.
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

// Number of a key's vertex, 0 if there is none.
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
__global__ void connect_kernel(const Key* keys, DevicePacking<Key> packing, DeviceLattice lattice) {
  const int32_t vertices = lattice.status->vertices;
  const int axis = static_cast<int>(blockIdx.y);
  const Key step = packing.step(axis, lattice.dims);
  DEEPLAB_GRID_STRIDE_LOOP(vertex, vertices) {
    lattice.neighbours[axis * lattice.capacity + vertex] = {find(keys, vertices, static_cast<Key>(keys[vertex] - step)),
                                                            find(keys, vertices, static_cast<Key>(keys[vertex] + step))};
    const int32_t first = lattice.row_start[vertex] / kSegment, last = (lattice.row_start[vertex + 1] - 1) / kSegment;
    if (axis == 0 && last - first >= kHeavySegments) {
      lattice.heavy[atomicAdd(&lattice.status->heavy, 1)] = static_cast<int32_t>(vertex + 1);
    }
  }
}

__global__ void channel_range_kernel(const void* data, bool is_byte, int64_t stride_y, int64_t stride_x,
                                     int64_t stride_c, int32_t width, int64_t points, int32_t* lows, int32_t* highs) {
  __shared__ int32_t low[kThreadsPerBlock], high[kThreadsPerBlock];
  const int channel = static_cast<int>(blockIdx.y), thread = static_cast<int>(threadIdx.x);
  int32_t least = INT32_MAX, most = INT32_MIN;
  DEEPLAB_GRID_STRIDE_LOOP(point, points) {
    const int64_t offset = point / width * stride_y + point % width * stride_x + channel * stride_c;
    float value = is_byte ? static_cast<float>(static_cast<const uint8_t*>(data)[offset])
                          : static_cast<const float*>(data)[offset];
    if (!(value == value)) value = INFINITY;
    // Floats as integers of the same order.
    const int32_t bits = __float_as_int(value);
    const int32_t ordered = bits >= 0 ? bits : bits ^ INT32_MAX;
    least = ordered < least ? ordered : least;
    most = ordered > most ? ordered : most;
  }
  low[thread] = least;
  high[thread] = most;
  __syncthreads();
  for (int half = kThreadsPerBlock / 2; half > 0; half /= 2) {
    if (thread < half) {
      low[thread] = low[thread + half] < low[thread] ? low[thread + half] : low[thread];
      high[thread] = high[thread + half] > high[thread] ? high[thread + half] : high[thread];
    }
    __syncthreads();
  }
  if (thread == 0) {
    atomicMin(&lows[channel], low[0]);
    atomicMax(&highs[channel], high[0]);
  }
}

// What building takes besides the lattice.
template <typename Key>
struct Scratch {
  static constexpr bool kWide = sizeof(Key) > sizeof(uint64_t);

  Scratch(void* memory, int64_t entries) : carver(memory) {
    if (kWide) {
      keys = carver.take<Key>(entries);
      sorted_keys = carver.take<Key>(entries);
    }
    for (int i = 0; i < 2; ++i) {
      words[i] = carver.take<uint64_t>(entries);
      order[i] = carver.take<uint32_t>(entries);
    }
    weights = carver.take<float>(entries);
    counts = carver.take<int32_t>(blocks(entries));
    // Also the query's arguments: the sort must not take null pointers for a wish to know the size.
    cub::DoubleBuffer<uint64_t> keys_buffer(words[0], words[1]);
    cub::DoubleBuffer<uint32_t> order_buffer(order[0], order[1]);
    check_cuda(cub::DeviceRadixSort::SortPairs(nullptr, sort_bytes, keys_buffer, order_buffer,
                                               static_cast<int>(entries), 0, 64),
               "size of a radix sort");
    sort_memory = carver.take<char>(static_cast<int64_t>(sort_bytes) + 1);
  }
  static int64_t blocks(int64_t entries) { return (entries + kScanItems - 1) / kScanItems; }

  Carver carver;
  Key *keys = nullptr, *sorted_keys = nullptr;  // 128 bits only
  uint64_t* words[2];
  uint32_t* order[2];
  float* weights;
  int32_t* counts;
  char* sort_memory;
  size_t sort_bytes = 0;
};

template <typename Key>
class Builder {
 public:
  Builder(const DeviceLattice& lattice, const TensorView& scratch, const KeyFields& fields, uintptr_t stream)
      : lattice_(lattice),
        fields_(fields),
        packing_(make_packing<Key>(fields, lattice.dims)),
        scratch_(scratch.data, lattice.entries),
        device_(scratch.device),
        stream_(stream) {}

  void build(const FeatureSource& source) {
    if constexpr (kWide) {
      locate(source, scratch_.keys);
      launch_entries("low words of keys", half_keys_kernel<false>, scratch_.keys, order(), words(), entries());
      sort(64);
      launch_entries("high words of keys", half_keys_kernel<true>, scratch_.keys, order(), words(), entries());
      sort(fields_.bits - 64);
      launch_entries("sorted keys", ordered_keys_kernel, scratch_.keys, order(), scratch_.sorted_keys, entries());
      number(scratch_.sorted_keys, scratch_.keys);
    } else {
      locate(source, words());
      sort(fields_.bits);
      number(words(), scratch_.words[1 - current_]);
    }
  }

  void connect() {
    const Key* keys;
    if constexpr (kWide) {
      keys = scratch_.keys;
    } else {
      // Where build left them: each sort of an odd number of passes would swap the buffers, so it wrote them to [0].
      keys = scratch_.words[0];
    }
    const dim3 grid(resident_blocks(device_, lattice_.capacity, kThreadsPerBlock), lattice_.dims + 1);
    launch("lattice neighbours", connect_kernel<Key>, grid, kThreadsPerBlock, stream_, keys, packing_, lattice_);
  }

 private:
  static constexpr bool kWide = Scratch<Key>::kWide;

  int64_t entries() const { return lattice_.entries; }
  uint64_t* words() { return scratch_.words[current_]; }
  uint32_t* order() { return scratch_.order[current_]; }

  template <typename... Parameters, typename... Arguments>
  void launch_entries(const char* what, void (*kernel)(Parameters...), Arguments&&... arguments) {
    launch(what, kernel, blocks_for(entries()), kThreadsPerBlock, stream_, std::forward<Arguments>(arguments)...);
  }

  void locate(const FeatureSource& source, Key* keys) {
    Scale scale{};
    scale_factors(lattice_.dims, scale.factor);
    const float alpha = slice_factor(lattice_.dims);
    const auto run = [&](auto kernel) {
      launch("lattice simplices", kernel, blocks_for(entries() / (lattice_.dims + 1)), kThreadsPerBlock, stream_, source,
             scale, packing_, lattice_, keys, order(), scratch_.weights, alpha);
    };
    switch (lattice_.dims) {
      case 2:
        return run(locate_kernel<Key, 2>);
      case 5:
        return run(locate_kernel<Key, 5>);
      default:
        return run(locate_kernel<Key, 0>);
    }
  }

  void sort(int bits) {
    cub::DoubleBuffer<uint64_t> keys(words(), scratch_.words[1 - current_]);
    cub::DoubleBuffer<uint32_t> values(order(), scratch_.order[1 - current_]);
    check_cuda(cub::DeviceRadixSort::SortPairs(scratch_.sort_memory, scratch_.sort_bytes, keys, values,
                                               static_cast<int>(entries()), 0, bits, as_stream(stream_)),
               "sorting lattice keys");
    current_ ^= keys.selector;
  }

  void number(const Key* keys, Key* vertex_keys) {
    const dim3 blocks(static_cast<unsigned int>(Scratch<Key>::blocks(entries())));
    launch("counting lattice vertices", count_kernel<Key>, blocks, kThreadsPerBlock, stream_, keys, entries(),
           scratch_.counts);
    launch("numbering lattice vertices", scan_kernel, 1, kScanThreads, stream_, scratch_.counts,
           static_cast<int32_t>(blocks.x), lattice_.status);
    launch("lattice entries", number_kernel<Key>, blocks, kThreadsPerBlock, stream_, keys, order(), scratch_.weights,
           scratch_.counts, vertex_keys, lattice_);
  }

  DeviceLattice lattice_;
  KeyFields fields_;
  DevicePacking<Key> packing_;
  Scratch<Key> scratch_;
  int device_;
  uintptr_t stream_;
  int current_ = 0;
};
