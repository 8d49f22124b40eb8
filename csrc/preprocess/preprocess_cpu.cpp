#include <algorithm>

#include "../common/parallel.h"
#include "../common/simd.h"
#include "preprocess.h"

namespace deeplab::preprocess {
namespace {

constexpr int64_t kRowGrain = 16;

// The results of each channel for all 256 values of a byte.
template <typename stored_t>
struct Table {
  explicit Table(const Mean& mean) {
    for (int c = 0; c < kChannels; ++c) {
      for (int byte = 0; byte < 256; ++byte) of[c][byte] = value<stored_t>(static_cast<uint8_t>(byte), mean.of[c]);
    }
  }
  stored_t of[kChannels][256];
};

template <typename stored_t>
struct Row {
  const uint8_t* pixels;
  int64_t pixel_stride, channel_stride;
  int64_t count;         // pixels of the image
  int64_t padded_count;  // of the blob
  stored_t* out;
  int64_t plane;  // from one channel to the next; 0: the channels of a pixel lie together
};

template <typename stored_t>
void convert(const Row<stored_t>& row, const Table<stored_t>& table) {
  if (row.plane == 0) {
    for (int64_t x = 0; x < row.count; ++x) {
      const uint8_t* pixel = row.pixels + x * row.pixel_stride;
      stored_t* out = row.out + x * kChannels;
      for (int c = 0; c < kChannels; ++c) out[c] = table.of[c][pixel[(kChannels - 1 - c) * row.channel_stride]];
    }
    std::fill(row.out + row.count * kChannels, row.out + row.padded_count * kChannels, stored_t{});
    return;
  }
  for (int c = 0; c < kChannels; ++c) {
    const uint8_t* bytes = row.pixels + (kChannels - 1 - c) * row.channel_stride;
    stored_t* out = row.out + c * row.plane;
    for (int64_t x = 0; x < row.count; ++x) out[x] = table.of[c][bytes[x * row.pixel_stride]];
    std::fill(out + row.count, out + row.padded_count, stored_t{});
  }
}

}  // namespace

void images_cpu(const TensorView& images, const TensorView& blob, const Mean& mean) {
  const int64_t height = blob.size(2), width = blob.size(3);
  const bool channels_last = is_channels_last(blob);
  dispatch_blob(blob.dtype, [&](auto zero) {
    using stored_t = decltype(zero);
    const Table<stored_t> table(mean);
    parallel_for(blob.size(0) * height, kRowGrain, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const int64_t item = row / height, y = row % height;
        const int64_t plane = height * width;
        stored_t* out = blob.ptr<stored_t>() + item * kChannels * plane + y * width * (channels_last ? kChannels : 1);
        const bool inside = y < images.size(1);
        convert<stored_t>(
            {images.ptr<const uint8_t>() + (inside ? item * images.stride(0) + y * images.stride(1) : 0),
             images.stride(2), images.stride(3), inside ? images.size(2) : 0, width, out, channels_last ? 0 : plane},
            table);
      }
    });
  });
}

}  // namespace deeplab::preprocess
