// The parts of a lattice on a GPU besides its building: its memory, its size, the range of its features.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "../common/carve.h"
#include "../common/device_runtime.h"
#include "../common/kernel_launch.h"
#include "lattice_cuda.h"
#ifdef DEEPLAB_WITH_CUDA
#include "range_kernels.cuh"
#endif

namespace deeplab::lattice {

void check_cuda_memory(const TensorView& memory, const char* name, int device, int64_t bytes) {
  check_dtype(memory, name, DType::kUInt8);
  check_contiguous(memory, name);
  DEEPLAB_CHECK(memory.device == device && memory.numel() >= bytes, name, ": expected ", bytes,
                " bytes on cuda:", device, ", got ", memory.describe());
  // Kernels read four floats, or a key of 128 bits, at once.
  DEEPLAB_CHECK(memory.is_aligned(), name, ": expected memory aligned to 16 bytes");
}

CudaLattice::CudaLattice(int device, int64_t height, int64_t width, bool positions, const std::vector<float>& divisors,
                         const std::vector<std::pair<float, float>>& ranges, bool sse_padding)
    : device_(device), dims_(static_cast<int>(divisors.size())), height_(height), width_(width) {
  const size_t first_channel = positions ? 2 : 0;
  DEEPLAB_CHECK(device >= 0, "expected the index of a CUDA device, got ", device);
  DEEPLAB_CHECK(dims_ >= 1 && dims_ <= kMaxDims, "expected between 1 and ", kMaxDims, " features, got ", dims_);
  DEEPLAB_CHECK(divisors.size() == first_channel + ranges.size(), "got ", divisors.size(), " divisors for ",
                first_channel, " positions and ", ranges.size(), " channels");
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  DEEPLAB_CHECK(
      height >= 1 && width >= 1 && height < kMost && width < kMost && height <= kMost / width / (dims_ + 1) - 1,
      "expected between 1 and ", kMost / (dims_ + 1) - 1, " points in ", dims_, " dimensions, got ", height, " x ",
      width);
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

int64_t CudaLattice::table_bytes(int64_t capacity) const {
  return (dims_ + 1) * capacity * static_cast<int64_t>(sizeof(NeighbourPair));
}

std::vector<int64_t> count_vertices(const std::vector<std::shared_ptr<CudaLattice>>& lattices, uintptr_t stream) {
  if (lattices.empty()) return {};
  std::vector<Status> statuses(lattices.size());
  for (size_t i = 0; i < lattices.size(); ++i) {
    DEEPLAB_CHECK(lattices[i]->view().status, "a lattice is built before its vertices are counted");
    DEEPLAB_CHECK(lattices[i]->device() == lattices[0]->device(), "expected lattices on one device");
    // The first wait is the longest; after it the other lattices are usually finished too.
    read_back(lattices[i]->device(), &statuses[i], lattices[i]->view().status, sizeof(Status), stream);
  }
  std::vector<int64_t> counts;
  for (size_t i = 0; i < lattices.size(); ++i) {
    counts.push_back(statuses[i].beyond ? -1 : statuses[i].vertices);
    lattices[i]->counted(counts.back());
  }
  return counts;
}

std::vector<std::pair<float, float>> channel_ranges(const TensorView& image, const TensorView& scratch,
                                                    uintptr_t stream) {
  check_dim(image, "image", 3);
  DEEPLAB_CHECK(image.dtype == DType::kFloat32 || image.dtype == DType::kUInt8,
                "image: expected float32 or uint8, got ", image.describe());
  DEEPLAB_CHECK(image.numel() > 0 && image.size(1) < std::numeric_limits<int32_t>::max(),
                "image: expected some pixels, got ", image.describe());
  const int64_t channels = image.size(2), points = image.size(0) * image.size(1);
  DEEPLAB_CHECK(channels <= kMaxDims, "image: expected at most ", kMaxDims, " channels, got ", image.describe());
  check_cuda_memory(scratch, "scratch", image.device, 8 * channels);
  int32_t *lows = scratch.ptr<int32_t>(), *highs = lows + channels;
  // Their bits, as integers of the same order as the floats, are very large and very small.
  set_bytes(image.device, lows, 0x7f, 4 * channels, stream);
  set_bytes(image.device, highs, 0x80, 4 * channels, stream);
  const unsigned int blocks = resident_blocks(image.device, points, kThreadsPerBlock);
  launch_kernel({"channel ranges",
                 image.device,
                 stream,
                 {blocks, static_cast<unsigned int>(channels), 1},
                 {kThreadsPerBlock, 1, 1}},
                DEEPLAB_PLAIN_KERNEL("lattice/range_kernels.cuh", deeplab::lattice::channel_range_kernel),
                image.ptr<const void>(), static_cast<int32_t>(image.dtype == DType::kUInt8), image.stride(0),
                image.stride(1), image.stride(2), static_cast<int32_t>(image.size(1)), points, lows, highs);
  std::vector<int32_t> bits(2 * channels);
  read_back(image.device, bits.data(), lows, 8 * channels, stream);
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
