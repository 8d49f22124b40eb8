#include <array>
#include <utility>
#include <vector>

#include "../common/simd.h"
#include "resize.h"

namespace deeplab::resize {
namespace {

// One row of the image resized to the width of the output: (w, C) numbers of 15 bits.
template <int kChannels>
void weigh_across(const uint8_t* row, int64_t pixel, int64_t channel, int64_t channels, const Taps& across,
                  int64_t width, int32_t* out) {
  if (kChannels > 0) channels = kChannels;
  for (int64_t x = 0; x < width; ++x) {
    const uint8_t *low = row + across.low[x] * pixel, *high = row + across.high[x] * pixel;
    const int32_t low_weight = across.low_weight[x], high_weight = across.high_weight[x];
    for (int64_t c = 0; c < channels; ++c) {
      out[x * channels + c] = (low[c * channel] * low_weight + high[c * channel] * high_weight) >> 4;
    }
  }
}

DEEPLAB_TARGET_CLONES
void weigh_down(const int32_t* low, const int32_t* high, int32_t low_weight, int32_t high_weight, int64_t count,
                uint8_t* out) {
  for (int64_t i = 0; i < count; ++i) {
    const int32_t sum = ((low[i] * low_weight) >> 16) + ((high[i] * high_weight) >> 16);
    out[i] = static_cast<uint8_t>((sum + 2) >> 2);
  }
}

// The two rows that were resized last: the next output row needs one of them again, or both.
struct Rows {
  explicit Rows(int64_t numbers) {
    for (auto& row : rows) row.resize(numbers);
  }

  // Returns the buffer of a row of the image, and calls `make` to fill it if necessary; `keep` is not overwritten.
  template <typename Make>
  int32_t* find(int32_t index, int32_t keep, const Make& make) {
    for (int i = 0; i < 2; ++i) {
      if (indices[i] == index) return rows[i].data();
    }
    const int free = indices[0] == keep ? 1 : 0;
    indices[free] = index;
    make(rows[free].data());
    return rows[free].data();
  }

  std::array<std::vector<int32_t>, 2> rows;
  std::array<int32_t, 2> indices{-1, -1};
};

}  // namespace

void bilinear_cpu(const TensorView& image, const TensorView& out, const Taps& down, const Taps& across) {
  const int64_t height = out.size(0), width = out.size(1), channels = out.size(2);
  const auto weigh = channels == 3 ? weigh_across<3> : channels == 1 ? weigh_across<1> : weigh_across<0>;
  Rows rows(width * channels);
  for (int64_t y = 0; y < height; ++y) {
    const auto row = [&](int32_t index, int32_t keep) {
      return rows.find(index, keep, [&](int32_t* numbers) {
        weigh(image.ptr<const uint8_t>() + index * image.stride(0), image.stride(1), image.stride(2), channels, across,
              width, numbers);
      });
    };
    const int32_t* low = row(down.low[y], down.high[y]);
    const int32_t* high = row(down.high[y], down.low[y]);
    weigh_down(low, high, down.low_weight[y], down.high_weight[y], width * channels,
               out.ptr<uint8_t>() + y * width * channels);
  }
}

}  // namespace deeplab::resize
