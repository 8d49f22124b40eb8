#include <algorithm>

#include "../common/parallel.h"
#include "filter.h"

namespace deeplab::lattice {
namespace {

constexpr int64_t kPointGrain = 2048;
constexpr int64_t kVertexGrain = 1024;

// Vertices [begin, end), counted from 0: each sums its points' rows in the points' order, as the original's loop over
// points did.
DEEPLAB_TARGET_CLONES
void splat_range(const Lattice& lattice, const float* rows, int64_t width, float* values, int64_t begin, int64_t end) {
  for_each_piece(width, [&](auto piece, int64_t column) DEEPLAB_INLINE_LAMBDA {
    using Vector = typename decltype(piece)::Vector;
    constexpr int kVectors = decltype(piece)::kVectors;
    for (int64_t vertex = begin; vertex < end; ++vertex) {
      Vector sum[kVectors] = {};
      for (int64_t entry = lattice.row_start[vertex]; entry < lattice.row_start[vertex + 1]; ++entry) {
        const Vector* row = reinterpret_cast<const Vector*>(rows + lattice.entry_point[entry] * width + column);
        for (int k = 0; k < kVectors; ++k) sum[k] += lattice.entry_weight[entry] * row[k];
      }
      Vector* target = reinterpret_cast<Vector*>(values + (vertex + 1) * width + column);
      for (int k = 0; k < kVectors; ++k) target[k] = sum[k];
    }
  });
}

DEEPLAB_TARGET_CLONES
void blur_range(const Neighbours* neighbours, const float* from, int64_t width, float* to, int64_t begin, int64_t end) {
  for_each_piece(width, [&](auto piece, int64_t column) DEEPLAB_INLINE_LAMBDA {
    using Vector = typename decltype(piece)::Vector;
    constexpr int kVectors = decltype(piece)::kVectors;
    for (int64_t vertex = begin; vertex < end; ++vertex) {
      const auto row = [&](int64_t index) DEEPLAB_INLINE_LAMBDA {
        return reinterpret_cast<const Vector*>(from + index * width + column);
      };
      const Vector* old = row(vertex + 1);
      const Vector* before = row(neighbours[vertex].before);
      const Vector* after = row(neighbours[vertex].after);
      Vector* target = reinterpret_cast<Vector*>(to + (vertex + 1) * width + column);
      for (int k = 0; k < kVectors; ++k) target[k] = old[k] + 0.5f * (before[k] + after[k]);
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
      slice_point(lattice, blurred, width, column, point, sum);
      Vector* target = reinterpret_cast<Vector*>(rows + point * width + column);
      for (int k = 0; k < kVectors; ++k) target[k] = sum[k];
    }
  });
}

}  // namespace

VertexValues::VertexValues(const Lattice& lattice, int64_t width)
    : lattice_(lattice), width_(width), front_((lattice.vertices + 1) * width), back_((lattice.vertices + 1) * width) {
  std::fill_n(front_.data(), width, 0.f);
  std::fill_n(back_.data(), width, 0.f);
}

void VertexValues::splat(const float* rows) {
  parallel_for(lattice_.vertices, kVertexGrain,
               [&](int64_t begin, int64_t end) { splat_range(lattice_, rows, width_, front_.data(), begin, end); });
}

void VertexValues::blur(bool adjoint) {
  for (int i = 0; i <= lattice_.dims; ++i) {
    const int axis = adjoint ? lattice_.dims - i : i;
    const Neighbours* neighbours = lattice_.neighbours.data() + axis * lattice_.vertices;
    parallel_for(lattice_.vertices, kVertexGrain, [&](int64_t begin, int64_t end) {
      blur_range(neighbours, front_.data(), width_, back_.data(), begin, end);
    });
    std::swap(front_, back_);
  }
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
