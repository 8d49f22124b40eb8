#include <algorithm>

#include "../common/parallel.h"
#include "../common/simd.h"
#include "max_pool.h"

namespace deeplab::max_pool {
namespace {

// Channels whose maxima stay in registers.
constexpr int64_t kBlock = 64;

template <typename bits_t>
struct Row {
  const bits_t* image;  // (H, W, C)
  bits_t* out;          // (OW, C)
  int64_t channels;
  Range ys;
  Axis columns;
  bits_t lowest;
};

template <typename bits_t>
DEEPLAB_ALWAYS_INLINE void pool_channels(const Row<bits_t>& row, Range xs, const bits_t* image, bits_t* out,
                                         int64_t count) {
  bits_t best[kBlock];
  for (int64_t c = 0; c < count; ++c) best[c] = ordered(row.lowest);
  for (int64_t y = row.ys.begin; y < row.ys.end; ++y) {
    for (int64_t x = xs.begin; x < xs.end; ++x) {
      const bits_t* pixel = image + (y * row.columns.in + x) * row.channels;
      for (int64_t c = 0; c < count; ++c) best[c] = std::max(best[c], ordered(pixel[c]));
    }
  }
  for (int64_t c = 0; c < count; ++c) out[c] = ordered(best[c]);
}

template <typename bits_t>
DEEPLAB_ALWAYS_INLINE void pool_row(const Row<bits_t>& row) {
  for (int64_t x = 0; x < row.columns.out; ++x) {
    const Range xs = window(row.columns, x);
    int64_t c = 0;
    // A count that the compiler knows.
    for (; c + kBlock <= row.channels; c += kBlock) {
      pool_channels(row, xs, row.image + c, row.out + x * row.channels + c, kBlock);
    }
    if (c < row.channels) pool_channels(row, xs, row.image + c, row.out + x * row.channels + c, row.channels - c);
  }
}

DEEPLAB_TARGET_CLONES void pool_row_16(const Row<int16_t>& row) { pool_row(row); }
DEEPLAB_TARGET_CLONES void pool_row_32(const Row<int32_t>& row) { pool_row(row); }

}  // namespace

void forward_cpu(const TensorView& input, const TensorView& output, const Axis& rows, const Axis& columns) {
  if (output.numel() == 0) return;
  dispatch_bits(input.dtype, [&](auto zero) {
    using bits_t = decltype(zero);
    const int64_t channels = input.size(1), image = rows.in * columns.in * channels;
    const auto lowest = static_cast<bits_t>(lowest_bits(input.dtype));
    if (image == 0) {  // its pointer may be null
      std::fill_n(output.ptr<bits_t>(), output.numel(), lowest);
      return;
    }
    parallel_for(output.size(0) * rows.out, 1, [&](int64_t begin, int64_t end) {
      for (int64_t index = begin; index < end; ++index) {
        const Row<bits_t> row{input.ptr<const bits_t>() + index / rows.out * image,
                              output.ptr<bits_t>() + index * columns.out * channels,
                              channels,
                              window(rows, index % rows.out),
                              columns,
                              lowest};
        if constexpr (sizeof(bits_t) == 2) {
          pool_row_16(row);
        } else {
          pool_row_32(row);
        }
      }
    });
  });
}

}  // namespace deeplab::max_pool
