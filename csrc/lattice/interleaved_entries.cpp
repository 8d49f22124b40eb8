// Interleaves the entries of several vertices.
#include <algorithm>

#include "../common/parallel.h"
#include "lattice.h"

namespace deeplab::lattice {
namespace {

// Vertices [begin, end), which are a window.
void interleave_entries(const Lattice& lattice, int64_t begin, int64_t end, InterleavedEntries& interleaved) {
  constexpr int64_t kChunk = InterleavedEntries::kChunk, kMany = 255;
  const auto count_of = [&](int64_t vertex) {
    return static_cast<int32_t>(lattice.row_start[vertex + 1] - lattice.row_start[vertex]);
  };
  // Counting sort: a bin for each number of entries; vertices with kMany entries or more are sorted separately.
  int32_t next[kMany + 2] = {};
  for (int64_t vertex = begin; vertex < end; ++vertex) {
    ++next[kMany + 1 - std::min<int64_t>(count_of(vertex), kMany)];
  }
  for (int64_t i = 1; i <= kMany + 1; ++i) next[i] += next[i - 1];
  int32_t* sorted = &interleaved.vertex[begin];
  const int64_t many = next[1];
  for (int64_t vertex = begin; vertex < end; ++vertex) {
    sorted[next[kMany - std::min<int64_t>(count_of(vertex), kMany)]++] = static_cast<int32_t>(vertex);
  }
  std::stable_sort(sorted, sorted + many, [&](int32_t a, int32_t b) { return count_of(a) > count_of(b); });
  int64_t start = lattice.row_start[begin];
  for (int64_t first = 0; first < end - begin; first += kChunk) {
    const int64_t chunk = std::min(kChunk, end - begin - first);
    const int64_t shared = chunk == kChunk ? count_of(sorted[first + kChunk - 1]) : 0;
    const Entry* row[kChunk];
    for (int64_t i = 0; i < chunk; ++i) {
      row[i] = &lattice.entries[lattice.row_start[sorted[first + i]]];
      interleaved.count[begin + first + i] = count_of(sorted[first + i]);
      ++sorted[first + i];
    }
    for (int64_t entry = 0; entry < shared; ++entry) {
      for (int64_t i = 0; i < kChunk; ++i) {
        interleaved.point[start + i] = row[i][entry].point;
        interleaved.weight[start + i] = row[i][entry].weight;
      }
      start += kChunk;
    }
    for (int64_t i = 0; i < chunk; ++i) {
      for (int64_t entry = shared; entry < interleaved.count[begin + first + i]; ++entry, ++start) {
        interleaved.point[start] = row[i][entry].point;
        interleaved.weight[start] = row[i][entry].weight;
      }
    }
  }
}

}  // namespace

const InterleavedEntries& Lattice::interleaved_entries() const {
  return interleaved_entries_.get([&] {
    InterleavedEntries interleaved;
    interleaved.vertex = AlignedBuffer<int32_t>(vertices);
    interleaved.count = AlignedBuffer<int32_t>(vertices);
    interleaved.point = AlignedBuffer<int32_t>(entries.size());
    interleaved.weight = AlignedBuffer<float>(entries.size() + kWeightsBeyond);
    parallel_for(vertices, InterleavedEntries::kWindow,
                 [&](int64_t begin, int64_t end) { interleave_entries(*this, begin, end, interleaved); });
    return interleaved;
  });
}

}  // namespace deeplab::lattice
