#include <algorithm>
#include <vector>

#include "../common/parallel.h"
#include "../common/simd.h"
#include "../interp/columns.h"
#include "interp_softmax.h"

namespace deeplab::interp_softmax {
namespace {

using interp::Columns;
using interp::ResizedAxis;
using interp::RowRun;

// Rows of the result that are computed from the same two source rows after these are resized along x.
constexpr int64_t kRows = 32;
// Number of pixels whose values in all channels fit into the first caches.
constexpr int64_t kPixels = 128;

// One output row's part: resized source rows (C, stride), and the destination of its probabilities.
template <typename scalar_t>
struct Piece {
  const scalar_t* low;
  const scalar_t* high;
  int64_t stride;
  interp::Tap<scalar_t> tap;
  int64_t channels, count;
  scalar_t* values;  // (C, kPixels), scratch: the result is written once, to fresh memory
  scalar_t* out;
  int64_t plane;  // from one channel of `out` to the next
};

template <typename scalar_t>
DEEPLAB_ALWAYS_INLINE void softmax_piece(const Piece<scalar_t>& piece) {
  scalar_t largest[kPixels], sum[kPixels];
  const int64_t count = piece.count;
  for (int64_t c = 0; c < piece.channels; ++c) {
    const scalar_t* low = piece.low + c * piece.stride;
    const scalar_t* high = piece.high + c * piece.stride;
    scalar_t* values = piece.values + c * kPixels;
    for (int64_t i = 0; i < count; ++i) values[i] = piece.tap.near * low[i] + piece.tap.far * high[i];
    if (c == 0) std::copy(values, values + count, largest);
    for (int64_t i = 0; i < count; ++i) largest[i] = larger(largest[i], values[i]);
  }
  std::fill(sum, sum + count, scalar_t(0));
  for (int64_t c = 0; c < piece.channels; ++c) {
    scalar_t* values = piece.values + c * kPixels;
    for (int64_t i = 0; i < count; ++i) {
      values[i] = exponential(values[i] - largest[i]);
      sum[i] += values[i];
    }
  }
  for (int64_t c = 0; c < piece.channels; ++c) {
    const scalar_t* values = piece.values + c * kPixels;
    scalar_t* out = piece.out + c * piece.plane;
    for (int64_t i = 0; i < count; ++i) out[i] = values[i] / sum[i];
  }
}

template <typename scalar_t>
struct Row {
  const scalar_t* values;
  const Columns<scalar_t>* columns;
  scalar_t* out;
};

template <typename scalar_t>
DEEPLAB_ALWAYS_INLINE void resize(const Row<scalar_t>& row) {
  interp::resize_row(row.values, 0, row.columns->near.data(), row.columns->far.data(), row.columns->low.data(),
                     row.columns->high.data(), row.columns->count(), row.out);
}

// Functions, not templates: only functions can be compiled for several processors.
DEEPLAB_TARGET_CLONES void softmax(const Piece<float>& piece) { softmax_piece(piece); }
DEEPLAB_TARGET_CLONES void softmax(const Piece<double>& piece) { softmax_piece(piece); }
DEEPLAB_TARGET_CLONES void resize_columns(const Row<float>& row) { resize(row); }
DEEPLAB_TARGET_CLONES void resize_columns(const Row<double>& row) { resize(row); }

// All channels of a source row, resized along x, one after the other.
template <typename stored_t>
void resize_channels(const TensorView& scores, int64_t item, int64_t y, const Columns<compute_t<stored_t>>& columns,
                     compute_t<stored_t>* scratch, compute_t<stored_t>* out) {
  const stored_t* data = scores.ptr<const stored_t>() + item * scores.stride(0) + y * scores.stride(2);
  for (int64_t c = 0; c < scores.size(1); ++c) {
    const auto* values = interp::widened(data + c * scores.stride(1), scores.stride(3), 0, scores.size(3), scratch);
    resize_columns(Row<compute_t<stored_t>>{values, &columns, out + c * columns.count()});
  }
}

template <typename stored_t>
void run(const TensorView& scores, const TensorView& probabilities, const ResizedAxis& rows,
         const ResizedAxis& columns_axis, const interp::Window& window) {
  using scalar_t = compute_t<stored_t>;
  const Columns<scalar_t> columns(columns_axis, window.left, window.width);
  const std::vector<RowRun> runs = interp::row_runs(rows, window.top, window.height, kRows);
  const int64_t channels = scores.size(1), plane = window.height * window.width;
  const int64_t run_count = static_cast<int64_t>(runs.size());
  parallel_for(scores.size(0) * run_count, 1, [&](int64_t begin, int64_t end) {
    std::vector<scalar_t> low(channels * window.width), high(channels * window.width), scratch(scores.size(3)),
        values(channels * kPixels);
    for (int64_t index = begin; index < end; ++index) {
      const int64_t item = index / run_count;
      const RowRun& run = runs[index % run_count];
      resize_channels<stored_t>(scores, item, run.low, columns, scratch.data(), low.data());
      resize_channels<stored_t>(scores, item, run.high, columns, scratch.data(), high.data());
      for (int64_t y = run.begin; y < run.end; ++y) {
        scalar_t* out = probabilities.ptr<scalar_t>() + item * channels * plane + (y - window.top) * window.width;
        for (int64_t x = 0; x < window.width; x += kPixels) {
          softmax(Piece<scalar_t>{low.data() + x, high.data() + x, window.width, interp::tap<scalar_t>(rows, y),
                                  channels, std::min(kPixels, window.width - x), values.data(), out + x, plane});
        }
      }
    }
  });
}

// If the scores have the result's size, each pixel reads itself, with the weights 1 and 0.
template <typename stored_t>
void run_unresized(const TensorView& scores, const TensorView& probabilities, const interp::Window& window) {
  using scalar_t = compute_t<stored_t>;
  const int64_t channels = scores.size(1), plane = window.height * window.width;
  parallel_for(scores.size(0) * window.height, kRows, [&](int64_t begin, int64_t end) {
    std::vector<scalar_t> widened(channels * kPixels), values(channels * kPixels);
    for (int64_t index = begin; index < end; ++index) {
      const int64_t item = index / window.height, y = index % window.height;
      const stored_t* row = scores.ptr<const stored_t>() + item * scores.stride(0) +
                            (window.top + y) * scores.stride(2) + window.left * scores.stride(3);
      scalar_t* out = probabilities.ptr<scalar_t>() + item * channels * plane + y * window.width;
      for (int64_t x = 0; x < window.width; x += kPixels) {
        const int64_t count = std::min(kPixels, window.width - x);
        // Values that are contiguous are read in place.
        const scalar_t* first = interp::widened(row, scores.stride(3), x, x + count, widened.data());
        const bool in_place = first != widened.data();
        for (int64_t c = 1; c < channels && !in_place; ++c) {
          interp::widened(row + c * scores.stride(1), scores.stride(3), x, x + count, widened.data() + c * kPixels);
        }
        const int64_t stride = in_place ? scores.stride(1) : kPixels;
        softmax(Piece<scalar_t>{first, first, stride, {0, 0, 1, 0}, channels, count, values.data(), out + x, plane});
      }
    }
  });
}

}  // namespace

void probabilities_cpu(const TensorView& scores, const TensorView& probabilities, int64_t height, int64_t width,
                       const interp::Window& window, bool align_corners) {
  if (probabilities.numel() == 0) return;
  const ResizedAxis rows = interp::make_axis(scores.size(2), height, align_corners),
                    columns = interp::make_axis(scores.size(3), width, align_corners);
  const bool resized = rows.in != rows.out || columns.in != columns.out;
  dispatch_stored(scores.dtype, "interp_softmax", [&](auto stored) {
    if (resized) return run<decltype(stored)>(scores, probabilities, rows, columns, window);
    run_unresized<decltype(stored)>(scores, probabilities, window);
  });
}

}  // namespace deeplab::interp_softmax
