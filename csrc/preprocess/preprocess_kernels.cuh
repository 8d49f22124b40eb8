// The kernel of preprocess. No host code: this also compiles at run time (NVRTC).
#pragma once

#include "../common/loops.cuh"
#include "preprocess.h"

namespace deeplab::preprocess {

// The blob is written in the order of its memory, kCount elements at a time; the bytes, at most a quarter of its size,
// come from the caches when they are read again. index_t is as wide as the number of elements needs: 64-bit divisions
// would take longer than the memory accesses.
template <typename stored_t, typename count_t, typename channels_last_t, typename index_t>
__global__ void images_kernel(Images images, stored_t* blob, int64_t count, index_t height, index_t width, Mean mean) {
  constexpr int kCount = count_t::value;
  constexpr bool kChannelsLast = channels_last_t::value;
  DEEPLAB_GRID_STRIDE_LOOP(vector, (count + kCount - 1) / kCount) {
    const auto first = static_cast<index_t>(vector * kCount);
    index_t rest = first;
    index_t c = 0, x;
    if (kChannelsLast) {
      c = rest % kChannels;
      rest /= kChannels;
    }
    x = rest % width;
    rest /= width;
    index_t y = rest % height;
    rest /= height;
    if (!kChannelsLast) {
      c = rest % kChannels;
      rest /= kChannels;
    }
    index_t n = rest;
    Pack<stored_t, kCount> values;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const bool inside = y < images.height && x < images.width && first + i < count;
      values.of[i] = stored_t{};
      if (inside) {
        const float m = c == 0 ? mean.of[0] : c == 1 ? mean.of[1] : mean.of[2];
        const int64_t at = n * images.n + y * images.y + x * images.x + (kChannels - 1 - c) * images.c;
        values.of[i] = value<stored_t>(images.data[at], m);
      }
      if (kChannelsLast) {
        c = c + 1 < kChannels ? c + 1 : 0;
        if (c != 0) continue;
      }
      if (++x < width) continue;
      x = 0;
      if (++y < height) continue;
      y = 0;
      if (!kChannelsLast) {
        c = c + 1 < kChannels ? c + 1 : 0;
        if (c != 0) continue;
      }
      ++n;
    }
    stored_t* target = blob + vector * kCount;
    if (vector * kCount + kCount <= count) {
      *reinterpret_cast<Pack<stored_t, kCount>*>(target) = values;
    } else {
      for (int i = 0; i < kCount; ++i) {
        if (vector * kCount + i < count) target[i] = values.of[i];
      }
    }
  }
}

}  // namespace deeplab::preprocess
