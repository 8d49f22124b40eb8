#include "../common/launch.cuh"
#include "preprocess.h"

namespace deeplab::preprocess {
namespace {

struct Images {
  const uint8_t* data;
  int64_t n, y, x, c;  // strides
  int64_t height, width;
};

template <typename stored_t, int kCount>
struct alignas(sizeof(stored_t) * kCount) Vector {
  stored_t of[kCount];
};

// The blob is written in its order in memory, kCount elements at a time; the bytes, a quarter of it and less, come from
// the caches whenever they are read again. index_t is as wide as the count of elements needs: divisions in 64 bits
// would take longer than the memory.
template <typename stored_t, int kCount, bool kChannelsLast, typename index_t>
__global__ void images_kernel(Images images, stored_t* blob, int64_t count, index_t height, index_t width, Mean mean) {
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
    Vector<stored_t, kCount> values;
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
      *reinterpret_cast<Vector<stored_t, kCount>*>(target) = values;
    } else {
      for (int i = 0; i < kCount; ++i) {
        if (vector * kCount + i < count) target[i] = values.of[i];
      }
    }
  }
}

template <typename stored_t, int kCount>
void run(const Images& images, const TensorView& blob, const Mean& mean, uintptr_t stream) {
  const int64_t count = blob.numel();
  const auto with_index = [&](auto index, auto channels_last) {
    using index_t = decltype(index);
    launch("preprocess", images_kernel<stored_t, kCount, decltype(channels_last)::value, index_t>,
           blocks_for((count + kCount - 1) / kCount), kThreadsPerBlock, stream, images, blob.ptr<stored_t>(), count,
           blob.size(2), blob.size(3), mean);
  };
  const auto with_layout = [&](auto channels_last) {
    // Two vectors' room, so that the index behind the last element fits too.
    if (count < (int64_t{1} << 31) - 2 * kCount) {
      with_index(int32_t{}, channels_last);
    } else {
      with_index(int64_t{}, channels_last);
    }
  };
  if (is_channels_last(blob)) {
    with_layout(std::true_type{});
  } else {
    with_layout(std::false_type{});
  }
}

}  // namespace

void images_cuda(const TensorView& images, const TensorView& blob, const Mean& mean, uintptr_t stream) {
  if (blob.numel() == 0) return;
  DeviceGuard guard(blob.device);
  const Images source{images.ptr<const uint8_t>(),
                      images.stride(0),
                      images.stride(1),
                      images.stride(2),
                      images.stride(3),
                      images.size(1),
                      images.size(2)};
  constexpr int kBytes = 16;  // the widest store
  dispatch_blob(blob.dtype, [&](auto zero) {
    using stored_t = decltype(zero);
    // An item within a batch of an odd number of elements is not aligned.
    if (reinterpret_cast<uintptr_t>(blob.data) % kBytes == 0) {
      run<stored_t, kBytes / sizeof(stored_t)>(source, blob, mean, stream);
    } else {
      run<stored_t, 1>(source, blob, mean, stream);
    }
  });
}

}  // namespace deeplab::preprocess
