// Interleaves the entries of several vertices.
#include <algorithm>

#include "../common/parallel.h"
#include "lattice.h"

namespace deeplab::lattice {
namespace {

// Vertices [begin, end), which are a window.
void turn_entries(const Lattice& lattice, int64_t begin, int64_t end, TurnedEntries& turned) {
  constexpr int64_t kTurns = TurnedEntries::kTurns, kMany = 255;
  const auto count_of = [&](int64_t vertex) {
    return static_cast<int32_t>(lattice.row_start[vertex + 1] - lattice.row_start[vertex]);
  };
  // Counting sort: a bin for each number of entries; vertices with kMany entries or more are sorted separately.
  int32_t next[kMany + 2] = {};
  for (int64_t vertex = begin; vertex < end; ++vertex) {
    ++next[kMany + 1 - std::min<int64_t>(count_of(vertex), kMany)];
  }
  for (int64_t i = 1; i <= kMany + 1; ++i) next[i] += next[i - 1];
  int32_t* sorted = &turned.vertex[begin];
  const int64_t many = next[1];
  for (int64_t vertex = begin; vertex < end; ++vertex) {
    sorted[next[kMany - std::min<int64_t>(count_of(vertex), kMany)]++] = static_cast<int32_t>(vertex);
  }
  std::stable_sort(sorted, sorted + many, [&](int32_t a, int32_t b) { return count_of(a) > count_of(b); });
  int64_t start = lattice.row_start[begin];
  for (int64_t first = 0; first < end - begin; first += kTurns) {
    const int64_t group = std::min(kTurns, end - begin - first);
    const int64_t turns = group == kTurns ? count_of(sorted[first + kTurns - 1]) : 0;
    const Entry* row[kTurns];
    for (int64_t i = 0; i < group; ++i) {
      row[i] = &lattice.entries[lattice.row_start[sorted[first + i]]];
      turned.count[begin + first + i] = count_of(sorted[first + i]);
      ++sorted[first + i];
    }
    for (int64_t turn = 0; turn < turns; ++turn) {
      for (int64_t i = 0; i < kTurns; ++i) {
        turned.point[start + i] = row[i][turn].point;
        turned.weight[start + i] = row[i][turn].weight;
      }
      start += kTurns;
    }
    for (int64_t i = 0; i < group; ++i) {
      for (int64_t turn = turns; turn < turned.count[begin + first + i]; ++turn, ++start) {
        turned.point[start] = row[i][turn].point;
        turned.weight[start] = row[i][turn].weight;
      }
    }
  }
}

}  // namespace

const TurnedEntries& Lattice::turned_entries() const {
  return turned_entries_.get([&] {
    TurnedEntries turned;
    turned.vertex = AlignedBuffer<int32_t>(vertices);
    turned.count = AlignedBuffer<int32_t>(vertices);
    turned.point = AlignedBuffer<int32_t>(entries.size());
    turned.weight = AlignedBuffer<float>(entries.size() + kWeightsBeyond);
    parallel_for(vertices, TurnedEntries::kWindow,
                 [&](int64_t begin, int64_t end) { turn_entries(*this, begin, end, turned); });
    return turned;
  });
}

}  // namespace deeplab::lattice
