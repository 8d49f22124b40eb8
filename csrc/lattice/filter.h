// Filtering with a lattice: splat the points' values onto its vertices, blur along its axes, slice them back.
//
// Values are rows of `width` floats, channel last. `width` is a padded_width(), so that a point's or vertex' row is a
// few whole vectors. Vertex rows are numbered from 1; row 0 is all zero and stands for every missing neighbour.
#pragma once

#include <cstdint>
#include <utility>

#include "../common/aligned_buffer.h"
#include "../common/simd.h"
#include "lattice.h"

namespace deeplab::lattice {

constexpr int kMaxVectors = 4;  // of a row held in registers at once

// Throws if the channels are negative or so many that the width, or a small multiple of it, may not fit into 64 bits.
inline int64_t padded_width(int64_t channels) {
  product({channels, 8});
  return channels <= 2 ? channels : channels <= 4 ? 4 : (channels + 7) / 8 * 8;
}

// A piece of a row: a number of vectors of this type. Functions take this tag, not the vectors, because how vectors are
// passed by value depends on the processor.
template <typename V, int kCount>
struct Piece {
  using Vector = V;
  static constexpr int kVectors = kCount;
};

// Calls body(Piece, width, first column) for pieces that together cover a row. In the code for rows of a single piece
// the width is a constant.
template <typename Body>
DEEPLAB_ALWAYS_INLINE void for_each_piece(int64_t width, const Body& body) {
  if (width == 1) return body(Piece<float, 1>{}, 1, 0);
  if (width == 2) return body(Piece<Float2, 1>{}, 2, 0);
  if (width == 4) return body(Piece<Float4, 1>{}, 4, 0);
  if (width == 8) return body(Piece<Float8, 1>{}, 8, 0);
  if (width == 16) return body(Piece<Float8, 2>{}, 16, 0);
  if (width == 24) return body(Piece<Float8, 3>{}, 24, 0);
  int64_t column = 0;
  for (; column + 8 * kMaxVectors <= width; column += 8 * kMaxVectors)
    body(Piece<Float8, kMaxVectors>{}, width, column);
  switch ((width - column) / 8) {
    case 1:
      return body(Piece<Float8, 1>{}, width, column);
    case 2:
      return body(Piece<Float8, 2>{}, width, column);
    case 3:
      return body(Piece<Float8, 3>{}, width, column);
    default:
      return;
  }
}

// One point's slice of a blurred lattice, columns [column, column + vectors): the sum over the corners of its simplex.
// Corners = 0: the number is known only at run time.
template <int Corners, typename Vector, int kVectors>
DEEPLAB_ALWAYS_INLINE void slice_point(const Lattice& lattice, const float* blurred, int64_t width, int64_t column,
                                       int64_t point, Vector (&sum)[kVectors]) {
  const int corners = Corners ? Corners : lattice.dims + 1;
  const int32_t* vertex = lattice.point_vertex.data() + first_corner(point, corners);
  const float* weight = lattice.point_weight.data() + first_corner(point, corners);
  for (int k = 0; k < kVectors; ++k) sum[k] = Vector{};
  for (int r = 0; r < corners; ++r) {
    const Vector* source = reinterpret_cast<const Vector*>(blurred + vertex[r * kBlock] * width + column);
    const float share = weight[r * kBlock] * lattice.alpha;
    for (int k = 0; k < kVectors; ++k) sum[k] += share * source[k];
  }
}

// An array of vertex rows.
class VertexValues {
 public:
  VertexValues(const Lattice& lattice, int64_t width);

  // rows (points, width); uses `entries` if given, or else the lattice's entries
  void splat(const float* rows, const Entry* entries = nullptr);
  // The same for rows of a single 1; uses the lattice's interleaved entries if given, which takes half the time
  void splat_ones(const InterleavedEntries* interleaved);
  // The same for rows of two floats; uses `weights` if given, or else the weights of the lattice's interleaved entries
  void splat_pairs(const float* rows, const float* weights = nullptr);
  // In place. With `adjoint` the axes go in the reverse order: each axis' blur is symmetric, but they do not commute
  // where neighbours are missing.
  void blur(bool adjoint = false);
  float* data() { return values_.data(); }
  const float* data() const { return values_.data(); }  // (vertices + 1, width)
  static int64_t bytes(int64_t vertices, int64_t width) {
    product({vertices, 8});  // so one vertex more fits too
    return product({vertices + 1, width, 4});
  }

 private:
  const Lattice& lattice_;
  int64_t width_;
  AlignedBuffer<float> values_;
};

// values (points, channels) any strides -> out (points, channels) contiguous, float32 or float64. With `adjoint`, the
// transposed filter, which is the gradient with respect to the filter's values.
void filter_cpu(const Lattice& lattice, const TensorView& values, const TensorView& out, bool adjoint = false);
// filter_cpu for float64: plain loops, for gradient checks.
void filter_double_cpu(const Lattice& lattice, const TensorView& values, const TensorView& out, bool adjoint);

}  // namespace deeplab::lattice
