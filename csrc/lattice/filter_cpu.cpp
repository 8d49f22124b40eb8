#include <algorithm>

#include "../common/parallel.h"
#include "filter.h"
#include "narrow.h"

namespace deeplab::lattice {
namespace {

constexpr int64_t kPointGrain = 2048;
constexpr int64_t kVertexGrain = 1024;
constexpr int64_t kChainGrain = 2048;
// Rows that are prefetched; measured on a Xeon of 2023 with 2 MiB of second-level cache per core.
constexpr int64_t kAhead = 48;
constexpr int64_t kChainAhead = 16;

// Vertices [begin, end), counted from 0: each sums its points' rows in the order of the points, as the original's loop
// over points does.
DEEPLAB_TARGET_CLONES
void splat_range(const Lattice& lattice, const Entry* entries, const float* rows, int64_t any_width, float* values,
                 int64_t begin, int64_t end) {
  for_each_piece(any_width, [&](auto piece, int64_t width, int64_t column) DEEPLAB_INLINE_LAMBDA {
    using Vector = typename decltype(piece)::Vector;
    constexpr int kVectors = decltype(piece)::kVectors;
    const int64_t last = lattice.row_start[end] - 1;
    for (int64_t vertex = begin; vertex < end; ++vertex) {
      Vector sum[kVectors] = {};
      for (int64_t entry = lattice.row_start[vertex]; entry < lattice.row_start[vertex + 1]; ++entry) {
        const int64_t later = entries[std::min(entry + kAhead, last)].point;
        prefetch<3>(rows + later * width + column, sizeof(sum));
        const auto [point, weight] = entries[entry];
        const Vector* row = reinterpret_cast<const Vector*>(rows + point * width + column);
        for (int k = 0; k < kVectors; ++k) sum[k] += weight * row[k];
      }
      Vector* target = reinterpret_cast<Vector*>(values + (vertex + 1) * width + column);
      for (int k = 0; k < kVectors; ++k) target[k] = sum[k];
    }
  });
}

// The same for rows of a single 1.
void splat_ones(const Lattice& lattice, float* values, int64_t begin, int64_t end) {
  for (int64_t vertex = begin; vertex < end; ++vertex) {
    float sum = 0.f;
    for (int64_t entry = lattice.row_start[vertex]; entry < lattice.row_start[vertex + 1]; ++entry) {
      sum += lattice.entries[entry].weight;
    }
    values[vertex + 1] = sum;
  }
}

// Calls chunk(first, count, shared) for the chunks of positions [begin, end) of the interleaved entries, where `begin`
// starts a window: `count` vertices from position `first` on, of which each has `shared` interleaved entries.
template <typename Chunk>
DEEPLAB_ALWAYS_INLINE void for_each_chunk(const InterleavedEntries& interleaved, int64_t begin, int64_t end,
                                          Chunk chunk) {
  for (int64_t first = begin; first < end; first += InterleavedEntries::kChunk) {
    const int64_t count = std::min(InterleavedEntries::kChunk, end - first);
    chunk(first, count, count == InterleavedEntries::kChunk ? interleaved.count[first + count - 1] : 0);
  }
}

// The same for rows of a single 1: a chunk of vertices at a time.
DEEPLAB_TARGET_CLONES
void splat_interleaved_ones(const Lattice& lattice, const InterleavedEntries& interleaved, float* values, int64_t begin,
                            int64_t end) {
  constexpr int64_t kChunk = InterleavedEntries::kChunk;
  static_assert(kChunk == Lanes<8>::kLanes);
  const float* weight = &interleaved.weight[lattice.row_start[begin]];
  for_each_chunk(interleaved, begin, end, [&](int64_t first, int64_t count, int64_t shared) DEEPLAB_INLINE_LAMBDA {
    Lanes<8>::Float sums{};
    for (int64_t entry = 0; entry < shared; ++entry, weight += kChunk) {
      sums += *reinterpret_cast<const Lanes<8>::LooseFloat*>(weight);
    }
    for (int64_t i = 0; i < count; ++i) {
      float sum = sums[i];
      for (int64_t left = interleaved.count[first + i] - shared; left > 0; --left) sum += *weight++;
      values[interleaved.vertex[first + i]] = sum;
    }
  });
}

// The same for rows of two floats.
template <typename L>
DEEPLAB_ALWAYS_INLINE void splat_pairs_of(const Lattice& lattice, const InterleavedEntries& interleaved,
                                          const float* weights, const float* rows, float* values, int64_t begin,
                                          int64_t end) {
  using Rows = Narrow<L, 2>;
  constexpr int kChunk = InterleavedEntries::kChunk, kVectors = kChunk / Rows::kRows;
  static_assert(kChunk % Rows::kRows == 0);
  int64_t start = lattice.row_start[begin];
  for_each_chunk(interleaved, begin, end, [&](int64_t first, int64_t count, int64_t shared) DEEPLAB_INLINE_LAMBDA {
    const int64_t rest = start + shared * kChunk;
    typename L::Float sums[kVectors] = {};
    for (int64_t entry = start; entry < rest; entry += kChunk) {
      for (int v = 0; v < kVectors; ++v) {
        typename L::Float weight, row;
        Rows::spread(weights + entry + v * Rows::kRows, weight);
        Rows::gather(rows, interleaved.point.data() + entry + v * Rows::kRows, row);
        sums[v] += weight * row;
      }
    }
    start = rest;
    alignas(64) float sum[kChunk][2];
    std::memcpy(sum, sums, sizeof(sum));
    for (int64_t i = 0; i < count; ++i) {
      for (int64_t left = interleaved.count[first + i] - shared; left > 0; --left, ++start) {
        for (int c = 0; c < 2; ++c) sum[i][c] += weights[start] * rows[interleaved.point[start] * 2 + c];
      }
      std::memcpy(values + interleaved.vertex[first + i] * 2, sum[i], sizeof(sum[i]));
    }
  });
}

// rows[chain[0]] is the zero row, and so is rows[chain[count]]; between them are whole chains. Each row is read once
// and written once. Begins with link `begin`; `before_begin` is the original row of the link before it.
template <typename Piece>
DEEPLAB_ALWAYS_INLINE void blur_links(Piece, const int32_t* chain, int64_t begin, int64_t count, int64_t width,
                                      int64_t column, const float* before_begin, float* rows) {
  using Vector = typename Piece::Vector;
  constexpr int kVectors = Piece::kVectors;
  Vector nowhere[kVectors];  // the zero row stays as it is
  Vector before[kVectors], old[kVectors];
  const Vector* first = reinterpret_cast<const Vector*>(rows + chain[begin] * width + column);
  for (int k = 0; k < kVectors; ++k) {
    before[k] = reinterpret_cast<const Vector*>(before_begin)[k];
    old[k] = first[k];
  }
  for (int64_t i = begin; i < count; ++i) {
    prefetch(rows + chain[std::min(i + kChainAhead, count)] * width + column, sizeof(old));
    const Vector* after = reinterpret_cast<const Vector*>(rows + chain[i + 1] * width + column);
    Vector* target = chain[i] ? reinterpret_cast<Vector*>(rows + chain[i] * width + column) : nowhere;
    for (int k = 0; k < kVectors; ++k) {
      const Vector next = after[k];
      target[k] = old[k] + 0.5f * (before[k] + next);
      before[k] = old[k];
      old[k] = next;
    }
  }
}

alignas(64) constexpr float kZeros[8 * kMaxVectors] = {};

DEEPLAB_ALWAYS_INLINE void blur_wide_chains(const int32_t* chain, int64_t count, int64_t any_width, float* rows) {
  for_each_piece(any_width, [&](auto piece, int64_t width, int64_t column) DEEPLAB_INLINE_LAMBDA {
    blur_links(piece, chain, 1, count, width, column, kZeros, rows);
  });
}

// The same for narrow rows: several links at a time, of one or several chains, with the zero row between chains.
template <typename L, int kWidth>
DEEPLAB_ALWAYS_INLINE void blur_narrow_chains(const int32_t* chain, int64_t count, float* rows) {
  using Rows = Narrow<L, kWidth>;
  using Vector = typename L::Float;
  Vector before{}, old = Vector{};
  alignas(64) float nowhere[kWidth];
  int64_t i = 1;
  if (i + 2 * Rows::kRows <= count) {
    Rows::gather(rows, chain + i, old);
    for (; i + 2 * Rows::kRows <= count; i += Rows::kRows) {
      Vector next, left, right;
      Rows::gather(rows, chain + i + Rows::kRows, next);
      Rows::shift_back(before, old, left);
      Rows::shift(old, next, right);
      Rows::scatter(old + 0.5f * (left + right), chain + i, rows, nowhere);
      before = old;
      old = next;
    }
  }
  float last[L::kLanes];
  std::memcpy(last, &before, sizeof(last));
  blur_links(Piece<std::conditional_t<kWidth == 1, float, Float2>, 1>{}, chain, i, count, kWidth, 0,
             last + L::kLanes - kWidth, rows);
}

// Points [begin, end) of a lattice whose rows are one float; `begin` starts a block.
template <typename L>
DEEPLAB_ALWAYS_INLINE void slice_singles(const Lattice& lattice, const float* blurred, float* out, int64_t begin,
                                         int64_t end) {
  using Rows = Narrow<L, 1>;
  for (int64_t block = begin; block < end; block += kBlock) {
    alignas(64) float sums[kBlock];
    for (int l = 0; l < kBlock; l += Rows::kRows) {
      typename L::Float sum{};
      for (int r = 0; r <= lattice.dims; ++r) {
        const int64_t corner = first_corner(block, lattice.dims + 1) + r * kBlock + l;
        typename L::Float share, row;
        Rows::spread(lattice.point_weight.data() + corner, share);
        Rows::gather(blurred, lattice.point_vertex.data() + corner, row);
        sum += share * lattice.alpha * row;
      }
      std::memcpy(sums + l, &sum, sizeof(sum));
    }
    std::copy_n(sums, std::min(kBlock, end - block), out + block);
  }
}

#define DEEPLAB_DEFINE_FILTER(target, lanes)                                                                          \
  target void splat_pairs_range(const Lattice& lattice, const InterleavedEntries& interleaved, const float* weights,  \
                                const float* rows, float* values, int64_t begin, int64_t end) {                       \
    with_gathers<lanes>([&](auto l) DEEPLAB_INLINE_LAMBDA {                                                           \
      splat_pairs_of<decltype(l)>(lattice, interleaved, weights, rows, values, begin, end);                           \
    });                                                                                                               \
  }                                                                                                                   \
  target void blur_chains(const int32_t* chain, int64_t count, int64_t width, float* rows) {                          \
    if (width > 2) return blur_wide_chains(chain, count, width, rows);                                                \
    with_gathers<lanes>([&](auto l) DEEPLAB_INLINE_LAMBDA {                                                           \
      if (width == 1) return blur_narrow_chains<decltype(l), 1>(chain, count, rows);                                  \
      blur_narrow_chains<decltype(l), 2>(chain, count, rows);                                                         \
    });                                                                                                               \
  }                                                                                                                   \
  target void slice_singles_range(const Lattice& lattice, const float* blurred, float* out, int64_t begin,            \
                                  int64_t end) {                                                                      \
    with_gathers<lanes>(                                                                                              \
        [&](auto l) DEEPLAB_INLINE_LAMBDA { return slice_singles<decltype(l)>(lattice, blurred, out, begin, end); }); \
  }
DEEPLAB_TARGET_VERSIONS(DEEPLAB_DEFINE_FILTER)

DEEPLAB_TARGET_CLONES
void slice_range(const Lattice& lattice, const float* blurred, int64_t any_width, float* rows, int64_t begin,
                 int64_t end) {
  for_each_piece(any_width, [&](auto piece, int64_t width, int64_t column) DEEPLAB_INLINE_LAMBDA {
    using Vector = typename decltype(piece)::Vector;
    constexpr int kVectors = decltype(piece)::kVectors;
    for (int64_t point = begin; point < end; ++point) {
      Vector sum[kVectors];
      slice_point<0>(lattice, blurred, width, column, point, sum);
      Vector* target = reinterpret_cast<Vector*>(rows + point * width + column);
      for (int k = 0; k < kVectors; ++k) target[k] = sum[k];
    }
  });
}

}  // namespace

VertexValues::VertexValues(const Lattice& lattice, int64_t width)
    : lattice_(lattice), width_(width), values_((lattice.vertices + 1) * width) {
  std::fill_n(values_.data(), width, 0.f);
}

void VertexValues::splat(const float* rows, const Entry* entries) {
  if (!entries) entries = lattice_.entries.data();
  parallel_for(lattice_.vertices, kVertexGrain, [&](int64_t begin, int64_t end) {
    splat_range(lattice_, entries, rows, width_, values_.data(), begin, end);
  });
}

void VertexValues::splat_ones(const InterleavedEntries* interleaved) {
  parallel_for(lattice_.vertices, InterleavedEntries::kWindow, [&](int64_t begin, int64_t end) {
    if (interleaved) {
      splat_interleaved_ones(lattice_, *interleaved, values_.data(), begin, end);
    } else {
      lattice::splat_ones(lattice_, values_.data(), begin, end);
    }
  });
}

void VertexValues::splat_pairs(const float* rows, const float* weights) {
  const InterleavedEntries& interleaved = lattice_.interleaved_entries();
  if (!weights) weights = interleaved.weight.data();
  parallel_for(lattice_.vertices, InterleavedEntries::kWindow, [&](int64_t begin, int64_t end) {
    splat_pairs_range(lattice_, interleaved, weights, rows, values_.data(), begin, end);
  });
}

void VertexValues::blur(bool adjoint) {
  for (int i = 0; i <= lattice_.dims; ++i) {
    const int axis = adjoint ? lattice_.dims - i : i;
    const int32_t* chains = lattice_.chains.data() + lattice_.chain_start[axis];
    const int64_t last = lattice_.chain_start[axis + 1] - lattice_.chain_start[axis] - 1;
    parallel_for(last, kChainGrain, [&](int64_t begin, int64_t end) {
      // The chains that start in this range, wherever they end.
      while (begin < end && chains[begin]) ++begin;
      if (begin == end) return;
      while (chains[end]) ++end;
      blur_chains(chains + begin, end - begin, width_, values_.data());
    });
  }
}

const AlignedBuffer<float>& Lattice::filtered_ones() const {
  return filtered_ones_.get([&] {
    AlignedBuffer<float> ones(points);
    VertexValues values(*this, 1);
    values.splat_ones(interleaved_entries_.found());
    values.blur();
    parallel_for(points, kPointGrain, [&](int64_t begin, int64_t end) {
      slice_singles_range(*this, values.data(), ones.data(), begin, end);
    });
    return ones;
  });
}

void filter_cpu(const Lattice& lattice, const TensorView& values, const TensorView& out, bool adjoint) {
  if (values.dtype == DType::kFloat64) return filter_double_cpu(lattice, values, out, adjoint);
  const int64_t channels = values.size(1), width = padded_width(channels);
  AlignedBuffer<float> rows(lattice.points * width);
  parallel_for(lattice.points, kPointGrain, [&](int64_t begin, int64_t end) {
    for (int64_t point = begin; point < end; ++point) {
      float* row = rows.data() + point * width;
      const float* source = values.ptr<const float>() + point * values.stride(0);
      for (int64_t c = 0; c < channels; ++c) row[c] = source[c * values.stride(1)];
      std::fill(row + channels, row + width, 0.f);
    }
  });
  VertexValues vertices(lattice, width);
  vertices.splat(rows.data());
  vertices.blur(adjoint);
  parallel_for(lattice.points, kPointGrain, [&](int64_t begin, int64_t end) {
    slice_range(lattice, vertices.data(), width, rows.data(), begin, end);
    for (int64_t point = begin; point < end; ++point) {
      std::copy_n(rows.data() + point * width, channels, out.ptr<float>() + point * channels);
    }
  });
}

}  // namespace deeplab::lattice
