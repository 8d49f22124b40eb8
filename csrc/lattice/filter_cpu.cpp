#include <algorithm>

#include "../common/parallel.h"
#include "filter.h"

namespace deeplab::lattice {
namespace {

constexpr int64_t kPointGrain = 2048;
constexpr int64_t kVertexGrain = 1024;
constexpr int64_t kChainGrain = 2048;
// Rows that are fetched before they are used; measured on a Xeon of 2023 with 2 MiB of second-level cache a core.
constexpr int64_t kAhead = 48;
constexpr int64_t kChainAhead = 16;

// Vertices [begin, end), counted from 0: each sums its points' rows in the points' order, as the original's loop over
// points did.
DEEPLAB_TARGET_CLONES
void splat_range(const Lattice& lattice, const Entry* entries, const float* rows, int64_t width, float* values,
                 int64_t begin, int64_t end) {
  for_each_piece(width, [&](auto piece, int64_t column) DEEPLAB_INLINE_LAMBDA {
    using Vector = typename decltype(piece)::Vector;
    constexpr int kVectors = decltype(piece)::kVectors;
    const int64_t last = lattice.row_start[end] - 1;
    for (int64_t vertex = begin; vertex < end; ++vertex) {
      Vector sum[kVectors] = {};
      for (int64_t entry = lattice.row_start[vertex]; entry < lattice.row_start[vertex + 1]; ++entry) {
        const int64_t later = entries[std::min(entry + kAhead, last)].point;
        prefetch(rows + later * width + column, sizeof(sum));
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
void splat_ones(const Lattice& lattice, const Entry* entries, float* values, int64_t begin, int64_t end) {
  for (int64_t vertex = begin; vertex < end; ++vertex) {
    float sum = 0.f;
    for (int64_t entry = lattice.row_start[vertex]; entry < lattice.row_start[vertex + 1]; ++entry) {
      sum += entries[entry].weight;
    }
    values[vertex + 1] = sum;
  }
}

// rows[chain[0]] is the zero row, and so is rows[chain[count]]; what lies between are whole chains. Each row is read
// once and written once.
DEEPLAB_TARGET_CLONES
void blur_chains(const int32_t* chain, int64_t count, int64_t width, float* rows) {
  for_each_piece(width, [&](auto piece, int64_t column) DEEPLAB_INLINE_LAMBDA {
    using Vector = typename decltype(piece)::Vector;
    constexpr int kVectors = decltype(piece)::kVectors;
    Vector nowhere[kVectors];  // the zero row stays as it is
    Vector before[kVectors], old[kVectors];
    const Vector* first = reinterpret_cast<const Vector*>(rows + chain[1] * width + column);
    for (int k = 0; k < kVectors; ++k) {
      before[k] = Vector{};
      old[k] = first[k];
    }
    for (int64_t i = 1; i < count; ++i) {
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
  });
}

DEEPLAB_TARGET_CLONES
void slice_range(const Lattice& lattice, const float* blurred, int64_t width, float* rows, int64_t begin, int64_t end) {
  for_each_piece(width, [&](auto piece, int64_t column) DEEPLAB_INLINE_LAMBDA {
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
    if (rows) {
      splat_range(lattice_, entries, rows, width_, values_.data(), begin, end);
    } else {
      splat_ones(lattice_, entries, values_.data(), begin, end);
    }
  });
}

void VertexValues::blur(bool adjoint) {
  for (int i = 0; i <= lattice_.dims; ++i) {
    const int axis = adjoint ? lattice_.dims - i : i;
    const int32_t* chains = lattice_.chains.data() + lattice_.chain_start[axis];
    const int64_t last = lattice_.chain_start[axis + 1] - lattice_.chain_start[axis] - 1;
    parallel_for(last, kChainGrain, [&](int64_t begin, int64_t end) {
      // The chains that start in here, wherever they end.
      while (begin < end && chains[begin]) ++begin;
      if (begin == end) return;
      while (chains[end]) ++end;
      blur_chains(chains + begin, end - begin, width_, values_.data());
    });
  }
}

const AlignedBuffer<float>& Lattice::filtered_ones() const {
  const std::lock_guard<std::mutex> lock(filtered_ones_mutex_);
  if (filtered_ones_.size() == 0) {
    AlignedBuffer<float> ones(points);
    VertexValues values(*this, 1);
    values.splat(nullptr);
    values.blur();
    parallel_for(points, kPointGrain,
                 [&](int64_t begin, int64_t end) { slice_range(*this, values.data(), 1, ones.data(), begin, end); });
    filtered_ones_ = std::move(ones);
  }
  return filtered_ones_;
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
