// Building the lattice on a GPU: every corner of every simplex writes its key; the keys are sorted, stably, so that
// equal ones stand side by side in the order of their points; runs of equal keys are numbered, which gives both lists,
// by vertex and by point; the neighbours are found in the sorted keys. No atomics decide anything but the order of a
// list whose order does not matter, so the lattice is the same in every run.
#include <cmath>
#include <cstring>
#include <cub/device/device_radix_sort.cuh>
#include <limits>

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

  Scratch(void* memory, int64_t entries) {
    Carver carver(memory);
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
    cub::DoubleBuffer<uint64_t> words_buffer(words[0], words[1]);
    cub::DoubleBuffer<uint32_t> order_buffer(order[0], order[1]);
    check_cuda(cub::DeviceRadixSort::SortPairs(nullptr, sort_bytes, words_buffer, order_buffer,
                                               static_cast<int>(entries), 0, 64),
               "size of a radix sort");
    // Not nothing, which would be a question for the size again.
    sort_bytes = std::max<size_t>(sort_bytes, 1);
    sort_memory = carver.take<char>(static_cast<int64_t>(sort_bytes));
    bytes = carver.bytes();
  }
  static int64_t blocks(int64_t entries) { return (entries + kScanItems - 1) / kScanItems; }

  Key *keys = nullptr, *sorted_keys = nullptr;  // 128 bits only
  uint64_t* words[2];
  uint32_t* order[2];
  float* weights;
  int32_t* counts;
  char* sort_memory;
  size_t sort_bytes = 0;
  int64_t bytes;
};

template <typename Key>
class Builder {
 public:
  Builder(const DeviceLattice& lattice, const KeyFields& fields, void* scratch, uintptr_t stream)
      : lattice_(lattice), fields_(fields), scratch_(scratch, lattice.entries), stream_(stream) {}

  void build(const FeatureSource& source) {
    if constexpr (Scratch<Key>::kWide) {
      locate(source, scratch_.keys);
      launch_entries("low words of keys", half_keys_kernel<false>, scratch_.keys, order(), words(), entries());
      sort(64);
      launch_entries("high words of keys", half_keys_kernel<true>, scratch_.keys, order(), words(), entries());
      sort(fields_.bits - 64);
      launch_entries("sorted keys", ordered_keys_kernel, scratch_.keys, order(), scratch_.sorted_keys, entries());
      number(scratch_.sorted_keys);
    } else {
      locate(source, words());
      sort(fields_.bits);
      number(words());
    }
  }

 private:
  int64_t entries() const { return lattice_.entries; }
  uint64_t* words() { return scratch_.words[current_]; }
  uint32_t* order() { return scratch_.order[current_]; }

  template <typename... Parameters, typename... Arguments>
  void launch_entries(const char* what, void (*kernel)(Parameters...), const Arguments&... arguments) {
    launch(what, kernel, blocks_for(entries()), kThreadsPerBlock, stream_, arguments...);
  }

  void locate(const FeatureSource& source, Key* keys) {
    Scale scale{};
    scale_factors(lattice_.dims, scale.factor);
    const float alpha = 1.f / (1.f + std::pow(2.f, -static_cast<float>(lattice_.dims)));
    const DevicePacking<Key> packing = make_packing<Key>(fields_, lattice_.dims);
    const auto run = [&](auto kernel) {
      launch("lattice simplices", kernel, blocks_for(entries() / (lattice_.dims + 1)), kThreadsPerBlock, stream_, source,
             scale, packing, lattice_, keys, order(), scratch_.weights, alpha);
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
    current_ ^= keys.selector;  // both pairs of buffers are swapped alike
  }

  void number(const Key* keys) {
    const dim3 blocks(static_cast<unsigned int>(Scratch<Key>::blocks(entries())));
    launch("counting lattice vertices", count_kernel<Key>, blocks, kThreadsPerBlock, stream_, keys, entries(),
           scratch_.counts);
    launch("numbering lattice vertices", scan_kernel, 1, kScanThreads, stream_, scratch_.counts, blocks.x,
           lattice_.status);
    launch("lattice entries", number_kernel<Key>, blocks, kThreadsPerBlock, stream_, keys, order(), scratch_.weights,
           scratch_.counts, static_cast<Key*>(lattice_.keys), lattice_);
  }

  DeviceLattice lattice_;
  KeyFields fields_;
  Scratch<Key> scratch_;
  uintptr_t stream_;
  int current_ = 0;
};

// Calls body(word of the keys' size).
template <typename Body>
auto dispatch_key(const KeyFields& fields, const Body& body) {
  return fields.bits <= 64 ? body(uint64_t{}) : body(uint128_t{});
}

void check_memory(const TensorView& memory, const char* name, int device, int64_t bytes) {
  check_dtype(memory, name, DType::kUInt8);
  check_contiguous(memory, name);
  DEEPLAB_CHECK(memory.device == device && memory.numel() >= bytes, name, ": expected ", bytes, " bytes on cuda:",
                device, ", got ", memory.describe());
}

}  // namespace

CudaLattice::CudaLattice(int device, int64_t height, int64_t width, bool positions, const std::vector<float>& divisors,
                         const std::vector<std::pair<float, float>>& ranges, bool sse_padding)
    : device_(device), dims_(static_cast<int>(divisors.size())), height_(height), width_(width) {
  const size_t first_channel = positions ? 2 : 0;
  DEEPLAB_CHECK(device >= 0, "expected the index of a CUDA device, got ", device);
  DEEPLAB_CHECK(dims_ >= 1 && dims_ <= kMaxDims, "expected between 1 and ", kMaxDims, " features, got ", dims_);
  DEEPLAB_CHECK(divisors.size() == first_channel + ranges.size(), "got ", divisors.size(), " divisors for ",
                first_channel, " positions and ", ranges.size(), " channels");
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  DEEPLAB_CHECK(height >= 1 && width >= 1 && height < kMost && width < kMost && height <= kMost / width / (dims_ + 1) - 1,
                "expected between 1 and ", kMost / (dims_ + 1) - 1, " points in ", dims_, " dimensions, got ", height,
                " x ", width);
  points_ = height * width;
  const bool with_zero = sse_padding && points_ % 4 != 0;
  entries_ = (points_ + with_zero) * (dims_ + 1);

  std::array<Range, kMaxDims> features{};
  source_.positions = static_cast<int>(first_channel);
  source_.width = static_cast<int32_t>(width);
  for (int i = 0; i < dims_; ++i) {
    const bool channel = i >= source_.positions;
    source_.low[i] = channel ? ranges[i - first_channel].first : 0.f;
    source_.high[i] = channel ? ranges[i - first_channel].second : static_cast<float>((i == 0 ? width : height) - 1);
    source_.divisor[i] = divisors[i];
    features[i] = {source_.low[i] / divisors[i], source_.high[i] / divisors[i]};
    DEEPLAB_CHECK(std::isfinite(features[i].low) && std::isfinite(features[i].high) && divisors[i] > 0.f,
                  "features: feature ", i, " has values that are not finite");
    if (with_zero) features[i] = {std::min(features[i].low, 0.f), std::max(features[i].high, 0.f)};
  }
  float scale[kMaxDims];
  scale_factors(dims_, scale);
  fields_ = key_fields(features, scale, dims_);
  DEEPLAB_CHECK(fields_.bits <= 128, "features span ", fields_.bits, " bits of lattice keys, but 128 is the most that a ",
                "key can have: ", dims_, " features with such small standard deviations are too many");
}

int64_t CudaLattice::place(void* memory, DeviceLattice& view) const {
  Carver carver(memory);
  view = {};
  view.dims = dims_;
  view.points = static_cast<int32_t>(points_);
  view.entries = static_cast<int32_t>(entries_);
  view.status = carver.take<Status>(1);
  view.keys = carver.take<char>(entries_ * (fields_.bits <= 64 ? 8 : 16));
  view.point_vertex = carver.take<int32_t>(entries_);
  view.point_share = carver.take<float>(entries_);
  view.entry = carver.take<Entry>(entries_);
  view.row_start = carver.take<int32_t>(entries_ + 1);
  view.segment_vertex = carver.take<int32_t>(view.segments());
  view.heavy = carver.take<int32_t>(view.segments() / (kHeavySegments - 1) + 1);
  return carver.bytes();
}

int64_t CudaLattice::bytes() const {
  DeviceLattice view;
  return place(nullptr, view);
}

int64_t CudaLattice::scratch_bytes() const {
  DeviceGuard guard(device_);
  return dispatch_key(fields_, [&](auto word) { return Scratch<decltype(word)>(nullptr, entries_).bytes; });
}

int64_t CudaLattice::table_bytes(int64_t capacity) const {
  return (dims_ + 1) * capacity * static_cast<int64_t>(sizeof(NeighbourPair));
}

void CudaLattice::build(const TensorView* image, const TensorView& memory, const TensorView& scratch,
                        uintptr_t stream) {
  const int channels = dims_ - source_.positions;
  DEEPLAB_CHECK((image != nullptr) == (channels > 0), "expected ", channels ? "an" : "no", " image for ", channels,
                " channels");
  FeatureSource source = source_;
  if (image) {
    check_sizes(*image, "image", {height_, width_, channels});
    DEEPLAB_CHECK(image->dtype == DType::kFloat32 || image->dtype == DType::kUInt8,
                  "image: expected float32 or uint8, got ", image->describe());
    DEEPLAB_CHECK(image->device == device_, "image: expected a tensor on cuda:", device_, ", got ", image->describe());
    source.data = image->data;
    source.is_byte = image->dtype == DType::kUInt8;
    std::copy_n(image->strides.begin(), 3, source.strides);
  }
  check_memory(memory, "memory", device_, bytes());
  check_memory(scratch, "scratch", device_, scratch_bytes());
  DeviceGuard guard(device_);
  place(memory.data, view_);
  check_cuda(cudaMemsetAsync(view_.status, 0, sizeof(Status), as_stream(stream)), "lattice status");
  dispatch_key(fields_, [&](auto word) {
    Builder<decltype(word)>(view_, fields_, scratch.data, stream).build(source);
  });
}

void CudaLattice::connect(const TensorView& table, int64_t capacity, uintptr_t stream) {
  DEEPLAB_CHECK(view_.keys, "a lattice is built before it is connected");
  DEEPLAB_CHECK(capacity >= 1 && capacity <= entries_, "capacity: expected between 1 and ", entries_, " vertices, got ",
                capacity);
  check_memory(table, "table", device_, table_bytes(capacity));
  DeviceGuard guard(device_);
  view_.capacity = capacity;
  view_.neighbours = table.ptr<NeighbourPair>();
  dispatch_key(fields_, [&](auto word) {
    using Key = decltype(word);
    const dim3 grid(resident_blocks(device_, capacity, kThreadsPerBlock), dims_ + 1);
    launch("lattice neighbours", connect_kernel<Key>, grid, kThreadsPerBlock, stream, static_cast<Key*>(view_.keys),
           make_packing<Key>(fields_, dims_), view_);
  });
}

void CudaLattice::copy_keys(const TensorView& out, uintptr_t stream) const {
  check_dtype(out, "out", DType::kInt32);
  check_contiguous(out, "out");
  check_dim(out, "out", 2);
  DEEPLAB_CHECK(out.on_cpu() && out.size(1) == dims_ && view_.keys, "out: expected (vertices, ", dims_,
                ") on cpu and a lattice that is built, got ", out.describe());
  DeviceGuard guard(device_);
  dispatch_key(fields_, [&](auto word) {
    using Key = decltype(word);
    std::vector<Key> keys(out.size(0));
    check_cuda(cudaMemcpyAsync(keys.data(), view_.keys, keys.size() * sizeof(Key), cudaMemcpyDeviceToHost,
                               as_stream(stream)),
               "reading lattice keys");
    check_cuda(cudaStreamSynchronize(as_stream(stream)), "reading lattice keys");
    int32_t* coordinate = out.ptr<int32_t>();
    for (Key key : keys) {
      for (int i = 0; i < dims_; ++i) {
        *coordinate++ = static_cast<int32_t>(key & ((Key(1) << fields_.width[i]) - 1)) + fields_.low[i];
        key >>= fields_.width[i];
      }
    }
  });
}

std::vector<int64_t> count_vertices(const std::vector<std::shared_ptr<CudaLattice>>& lattices, uintptr_t stream) {
  if (lattices.empty()) return {};
  DeviceGuard guard(lattices[0]->device());
  std::vector<Status> statuses(lattices.size());
  for (size_t i = 0; i < lattices.size(); ++i) {
    DEEPLAB_CHECK(lattices[i]->view().status, "a lattice is built before its vertices are counted");
    DEEPLAB_CHECK(lattices[i]->device() == lattices[0]->device(), "expected lattices on one device");
    check_cuda(cudaMemcpyAsync(&statuses[i], lattices[i]->view().status, sizeof(Status), cudaMemcpyDeviceToHost,
                               as_stream(stream)),
               "reading a lattice's status");
  }
  check_cuda(cudaStreamSynchronize(as_stream(stream)), "building lattices");
  std::vector<int64_t> counts;
  for (const Status& status : statuses) counts.push_back(status.beyond ? -1 : status.vertices);
  return counts;
}

bool is_capturing(uintptr_t stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  check_cuda(cudaStreamIsCapturing(as_stream(stream), &status), "cudaStreamIsCapturing");
  return status != cudaStreamCaptureStatusNone;
}

std::vector<std::pair<float, float>> channel_ranges(const TensorView& image, const TensorView& scratch,
                                                    uintptr_t stream) {
  check_dim(image, "image", 3);
  DEEPLAB_CHECK(image.dtype == DType::kFloat32 || image.dtype == DType::kUInt8,
                "image: expected float32 or uint8, got ", image.describe());
  DEEPLAB_CHECK(image.numel() > 0 && image.size(1) < std::numeric_limits<int32_t>::max(),
                "image: expected some pixels, got ", image.describe());
  const int64_t channels = image.size(2), points = image.size(0) * image.size(1);
  check_memory(scratch, "scratch", image.device, 8 * channels);
  DeviceGuard guard(image.device);
  int32_t *lows = scratch.ptr<int32_t>(), *highs = lows + channels;
  // Floats as large and as small as their order's integers of these bytes.
  check_cuda(cudaMemsetAsync(lows, 0x7f, 4 * channels, as_stream(stream)), "channel ranges");
  check_cuda(cudaMemsetAsync(highs, 0x80, 4 * channels, as_stream(stream)), "channel ranges");
  const dim3 grid(resident_blocks(image.device, points, kThreadsPerBlock), static_cast<unsigned int>(channels));
  launch("channel ranges", channel_range_kernel, grid, kThreadsPerBlock, stream, image.data,
         image.dtype == DType::kUInt8, image.stride(0), image.stride(1), image.stride(2), image.size(1), points, lows,
         highs);
  std::vector<int32_t> bits(2 * channels);
  check_cuda(cudaMemcpyAsync(bits.data(), lows, 8 * channels, cudaMemcpyDeviceToHost, as_stream(stream)),
             "channel ranges");
  check_cuda(cudaStreamSynchronize(as_stream(stream)), "channel ranges");
  const auto as_float = [](int32_t ordered) {
    const int32_t own = ordered >= 0 ? ordered : ordered ^ std::numeric_limits<int32_t>::max();
    float value;
    std::memcpy(&value, &own, sizeof value);
    return value;
  };
  std::vector<std::pair<float, float>> ranges;
  for (int64_t c = 0; c < channels; ++c) ranges.emplace_back(as_float(bits[c]), as_float(bits[channels + c]));
  return ranges;
}

}  // namespace deeplab::lattice
