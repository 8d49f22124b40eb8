// Building the lattice on a GPU: every corner of every simplex writes its key. A stable sort of the keys makes equal
// keys adjacent, in the order of their points. Runs of equal keys are numbered, which gives both lists, by vertex and
// by point. The neighbours are found in the sorted keys. Atomics decide only the order of a list whose order does not
// matter, so the lattice is the same in every run.
#include <vector>

#include "../common/carve.h"
#include "../common/device_runtime.h"
#include "../common/kernel_launch.h"
#include "lattice_cuda.h"
#include "packing.h"
#ifdef DEEPLAB_WITH_CUDA
#include "build_kernels.cuh"
#endif

namespace deeplab {

template <>
inline constexpr const char* kTypeName<uint64_t> = "uint64_t";
template <>
inline constexpr const char* kTypeName<lattice::uint128_t> = "deeplab::lattice::uint128_t";

}  // namespace deeplab

namespace deeplab::lattice {
namespace {

constexpr const char* kSource = "lattice/build_kernels.cuh";

// Memory for building, besides the lattice.
template <typename Key>
struct Scratch {
  static constexpr bool kWide = sizeof(Key) > sizeof(uint64_t);

  Scratch(int device, void* memory, int64_t entries) {
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
    sort_memory_bytes = sort_bytes(device, entries);
    sort_memory = carver.take<char>(sort_memory_bytes);
    bytes = carver.bytes();
  }
  static int64_t blocks(int64_t entries) { return (entries + kScanItems - 1) / kScanItems; }

  Key *keys = nullptr, *sorted_keys = nullptr;  // 128 bits only
  uint64_t* words[2];
  uint32_t* order[2];
  float* weights;
  int32_t* counts;
  char* sort_memory;
  int64_t sort_memory_bytes = 0;
  int64_t bytes;
};

template <typename Key>
class Builder {
 public:
  Builder(int device, const DeviceLattice& lattice, const KeyFields& fields, void* scratch, uintptr_t stream)
      : device_(device),
        lattice_(lattice),
        fields_(fields),
        scratch_(device, scratch, lattice.entries),
        stream_(stream) {}

  void build(const FeatureSource& source) {
    if constexpr (Scratch<Key>::kWide) {
      locate(source, scratch_.keys);
      half_keys("low words of keys", std::false_type{});
      sort(64);
      half_keys("high words of keys", std::true_type{});
      sort(fields_.bits - 64);
      launch_kernel(over_entries("sorted keys"),
                    DEEPLAB_KERNEL(kSource, deeplab::lattice::ordered_keys_kernel, uint128_t), constant(scratch_.keys),
                    constant(order()), scratch_.sorted_keys, entries());
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

  template <typename T>
  static const T* constant(T* pointer) {
    return pointer;
  }

  Launch over_entries(const char* what) const { return launch_over(what, device_, stream_, entries()); }

  template <typename upper_t>
  void half_keys(const char* what, upper_t) {
    launch_kernel(over_entries(what), DEEPLAB_KERNEL(kSource, deeplab::lattice::half_keys_kernel, uint128_t, upper_t),
                  constant(scratch_.keys), constant(order()), words(), entries());
  }

  void locate(const FeatureSource& source, Key* keys) {
    Scale scale{};
    scale_factors(lattice_.dims, scale.factor);
    const Packing<Key> packing = make_packing<Key>(fields_, lattice_.dims);
    const auto run = [&](auto dims) {
      using dims_t = decltype(dims);
      launch_kernel(launch_over("lattice simplices", device_, stream_, entries() / (lattice_.dims + 1)),
                    DEEPLAB_KERNEL(kSource, deeplab::lattice::locate_kernel, Key, dims_t), source, scale, packing,
                    lattice_, keys, order(), scratch_.weights, slice_factor(lattice_.dims));
    };
    switch (lattice_.dims) {
      case 2:
        return run(std::integral_constant<int, 2>{});
      case 5:
        return run(std::integral_constant<int, 5>{});
      default:
        return run(std::integral_constant<int, 0>{});
    }
  }

  void sort(int bits) {
    const int other = 1 - current_;
    const SortBuffers buffers{{words(), scratch_.words[other]}, {order(), scratch_.order[other]}};
    current_ ^=
        sort_pairs(device_, buffers, entries(), bits, scratch_.sort_memory, scratch_.sort_memory_bytes, stream_);
  }

  void number(const Key* keys) {
    const auto blocks = static_cast<unsigned int>(Scratch<Key>::blocks(entries()));
    launch_kernel({"counting lattice vertices", device_, stream_, {blocks, 1, 1}, {kThreadsPerBlock, 1, 1}},
                  DEEPLAB_KERNEL(kSource, deeplab::lattice::count_kernel, Key), keys, entries(), scratch_.counts);
    launch_kernel({"numbering lattice vertices", device_, stream_, {1, 1, 1}, {kScanThreads, 1, 1}},
                  DEEPLAB_PLAIN_KERNEL(kSource, deeplab::lattice::scan_kernel), scratch_.counts,
                  static_cast<int32_t>(blocks), lattice_.status);
    launch_kernel({"lattice entries", device_, stream_, {blocks, 1, 1}, {kThreadsPerBlock, 1, 1}},
                  DEEPLAB_KERNEL(kSource, deeplab::lattice::number_kernel, Key), keys, constant(order()),
                  constant(scratch_.weights), constant(scratch_.counts), static_cast<Key*>(lattice_.keys), lattice_);
  }

  int device_;
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
  return dispatch_key(fields_, [&](auto word) { return Scratch<decltype(word)>(device_, nullptr, entries_).bytes; });
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
  place(memory.data, view_);
  vertices_ = -1;
  set_bytes(device_, view_.status, 0, sizeof(Status), stream);
  dispatch_key(fields_, [&](auto word) {
    Builder<decltype(word)>(device_, view_, fields_, scratch.data, stream).build(source);
  });
}

void CudaLattice::connect(const TensorView& table, int64_t capacity, uintptr_t stream) {
  DEEPLAB_CHECK(view_.keys, "a lattice is built before it is connected");
  DEEPLAB_CHECK(capacity == entries_ || capacity == vertices_, "capacity: expected ", entries_, ", or the ",
                vertices_ < 0 ? "number of vertices once they are counted" : std::to_string(vertices_) + " vertices",
                ", got ", capacity);
  check_cuda_memory(table, "table", device_, table_bytes(capacity));
  view_.capacity = capacity;
  view_.neighbours = table.ptr<NeighbourPair>();
  // A lattice may be connected again, with another table.
  set_bytes(device_, &view_.status->heavy, 0, sizeof(int32_t), stream);
  dispatch_key(fields_, [&](auto word) {
    using Key = decltype(word);
    const unsigned int blocks = resident_blocks(device_, capacity, kThreadsPerBlock);
    launch_kernel({"lattice neighbours",
                   device_,
                   stream,
                   {blocks, static_cast<unsigned int>(dims_ + 1), 1},
                   {kThreadsPerBlock, 1, 1}},
                  DEEPLAB_KERNEL(kSource, deeplab::lattice::connect_kernel, Key), static_cast<const Key*>(view_.keys),
                  make_packing<Key>(fields_, dims_), view_);
  });
}

void CudaLattice::copy_keys(const TensorView& out, uintptr_t stream) const {
  check_dtype(out, "out", DType::kInt32);
  check_contiguous(out, "out");
  check_dim(out, "out", 2);
  DEEPLAB_CHECK(out.on_cpu() && out.size(1) == dims_ && view_.keys, "out: expected (vertices, ", dims_,
                ") on cpu and a lattice that is built, got ", out.describe());
  dispatch_key(fields_, [&](auto word) {
    using Key = decltype(word);
    std::vector<Key> keys(out.size(0));
    read_back(device_, keys.data(), view_.keys, static_cast<int64_t>(keys.size() * sizeof(Key)), stream);
    const Packing<Key> packing = make_packing<Key>(fields_, dims_);
    for (size_t vertex = 0; vertex < keys.size(); ++vertex) {
      packing.unpack(keys[vertex], dims_, out.ptr<int32_t>() + vertex * dims_);
    }
  });
}

}  // namespace deeplab::lattice
