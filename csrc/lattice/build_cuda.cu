// Building the lattice on a GPU: every corner of every simplex writes its key; the keys are sorted, stably, so that
// equal ones stand side by side in the order of their points; runs of equal keys are numbered, which gives both lists,
// by vertex and by point; the neighbours are found in the sorted keys. No atomics decide anything but the order of a
// list whose order does not matter, so the lattice is the same in every run.
#include <cmath>
#include <cub/device/device_radix_sort.cuh>
#include <vector>

#include "../common/carve.h"
#include "../common/launch.cuh"
#include "build_kernels.cuh"
#include "lattice_cuda.h"

namespace deeplab::lattice {
namespace {

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
      launch("lattice simplices", kernel, blocks_for(entries() / (lattice_.dims + 1)), kThreadsPerBlock, stream_,
             source, scale, packing, lattice_, keys, order(), scratch_.weights, alpha);
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

}  // namespace

int64_t CudaLattice::scratch_bytes() const {
  DeviceGuard guard(device_);
  return dispatch_key(fields_, [&](auto word) { return Scratch<decltype(word)>(nullptr, entries_).bytes; });
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
  check_cuda_memory(memory, "memory", device_, bytes());
  check_cuda_memory(scratch, "scratch", device_, scratch_bytes());
  DeviceGuard guard(device_);
  place(memory.data, view_);
  vertices_ = -1;
  check_cuda(cudaMemsetAsync(view_.status, 0, sizeof(Status), as_stream(stream)), "lattice status");
  dispatch_key(fields_,
               [&](auto word) { Builder<decltype(word)>(view_, fields_, scratch.data, stream).build(source); });
}

void CudaLattice::connect(const TensorView& table, int64_t capacity, uintptr_t stream) {
  DEEPLAB_CHECK(view_.keys, "a lattice is built before it is connected");
  DEEPLAB_CHECK(capacity == entries_ || capacity == vertices_, "capacity: expected ", entries_, ", or the ",
                vertices_ < 0 ? "number of vertices once they are counted" : std::to_string(vertices_) + " vertices",
                ", got ", capacity);
  check_cuda_memory(table, "table", device_, table_bytes(capacity));
  DeviceGuard guard(device_);
  view_.capacity = capacity;
  view_.neighbours = table.ptr<NeighbourPair>();
  // A lattice may be connected again, in another table.
  check_cuda(cudaMemsetAsync(&view_.status->heavy, 0, sizeof(int32_t), as_stream(stream)), "lattice status");
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
    check_cuda(
        cudaMemcpyAsync(keys.data(), view_.keys, keys.size() * sizeof(Key), cudaMemcpyDeviceToHost, as_stream(stream)),
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

}  // namespace deeplab::lattice
