// The filter in float64, channel by channel and without vectors: the reference for numerical derivatives.
#include <algorithm>
#include <utility>

#include "../common/parallel.h"
#include "filter.h"

namespace deeplab::lattice {
namespace {

constexpr int64_t kPointGrain = 2048;
constexpr int64_t kVertexGrain = 1024;

void splat(const Lattice& lattice, const TensorView& values, AlignedBuffer<double>& to) {
  const int64_t channels = values.size(1);
  std::fill_n(to.data(), channels, 0.0);
  parallel_for(lattice.vertices, kVertexGrain, [&](int64_t begin, int64_t end) {
    for (int64_t vertex = begin; vertex < end; ++vertex) {
      double* target = to.data() + (vertex + 1) * channels;
      std::fill_n(target, channels, 0.0);
      for (int64_t entry = lattice.row_start[vertex]; entry < lattice.row_start[vertex + 1]; ++entry) {
        const double* source = values.ptr<const double>() + lattice.entries[entry].point * values.stride(0);
        const double weight = lattice.entries[entry].weight;
        for (int64_t c = 0; c < channels; ++c) target[c] += weight * source[c * values.stride(1)];
      }
    }
  });
}

void blur(const Lattice& lattice, int axis, int64_t channels, const AlignedBuffer<double>& from,
          AlignedBuffer<double>& to) {
  const int32_t* chain = lattice.chains.data() + lattice.chain_start[axis];
  const int64_t last = lattice.chain_start[axis + 1] - lattice.chain_start[axis] - 1;
  std::fill_n(to.data(), channels, 0.0);
  parallel_for(last, kVertexGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      if (chain[i] == 0) continue;
      const double* before = from.data() + chain[i - 1] * channels;
      const double* old = from.data() + chain[i] * channels;
      const double* after = from.data() + chain[i + 1] * channels;
      double* target = to.data() + chain[i] * channels;
      for (int64_t c = 0; c < channels; ++c) target[c] = old[c] + 0.5 * (before[c] + after[c]);
    }
  });
}

void slice(const Lattice& lattice, int64_t channels, const AlignedBuffer<double>& from, double* out) {
  parallel_for(lattice.points, kPointGrain, [&](int64_t begin, int64_t end) {
    for (int64_t point = begin; point < end; ++point) {
      double* target = out + point * channels;
      std::fill_n(target, channels, 0.0);
      for (int64_t r = 0; r <= lattice.dims; ++r) {
        const int64_t corner = first_corner(point, lattice.dims + 1) + r * kBlock;
        const double* source = from.data() + lattice.point_vertex[corner] * channels;
        const double weight = static_cast<double>(lattice.point_weight[corner]) * lattice.alpha;
        for (int64_t c = 0; c < channels; ++c) target[c] += weight * source[c];
      }
    }
  });
}

}  // namespace

void filter_double_cpu(const Lattice& lattice, const TensorView& values, const TensorView& out, bool adjoint) {
  const int64_t channels = values.size(1);
  AlignedBuffer<double> front((lattice.vertices + 1) * channels), back((lattice.vertices + 1) * channels);
  splat(lattice, values, front);
  for (int i = 0; i <= lattice.dims; ++i) {
    blur(lattice, adjoint ? lattice.dims - i : i, channels, front, back);
    std::swap(front, back);
  }
  slice(lattice, channels, front, out.ptr<double>());
}

}  // namespace deeplab::lattice
