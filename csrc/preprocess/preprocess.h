// Converts images to the input of a net: interleaved bytes in R, G, B order become B, G, R planes minus the mean.
//
// The rule (the original's data_transformer.cpp:309-464 in phase TEST without a crop): byte minus mean in float, then
// rounded to the blob's type; padding at the bottom and at the right is the mean in the original, so exactly 0 here.
#pragma once

#include <cstdint>
#include <type_traits>

#include "../common/half.h"
#include "../common/host_device.h"
#include "../common/pack.h"
#include "../common/tensor_view.h"

namespace deeplab::preprocess {

constexpr int kChannels = 3;

// In B, G, R order.
struct Mean {
  float of[kChannels];
};

template <typename stored_t>
DEEPLAB_HOST_DEVICE stored_t value(uint8_t byte, float mean) {
  return narrow<stored_t>(static_cast<float>(byte) - mean);
}

struct Images {
  const uint8_t* data;
  int64_t n, y, x, c;  // strides
  int64_t height, width;
};

// The number of elements of the widest store, or one.
template <typename stored_t>
using Widest = std::integral_constant<int, kPackBytes / sizeof(stored_t)>;
using Single = std::integral_constant<int, 1>;

// images (N, H, W, 3) uint8, any strides; blob (N, 3, OH, OW) float32, float16 or bfloat16, contiguous or
// channels-last, OH >= H and OW >= W.
void images_cpu(const TensorView& images, const TensorView& blob, const Mean& mean);
void images_cuda(const TensorView& images, const TensorView& blob, const Mean& mean, uintptr_t stream);

#ifndef __CUDACC_RTC__

// Whether a blob (N, C, H, W) lies in memory as (N, H, W, C).
inline bool is_channels_last(const TensorView& blob) {
  const int64_t c = blob.size(1), h = blob.size(2), w = blob.size(3);
  return blob.stride(1) == 1 && blob.stride(3) == c && (h == 1 || blob.stride(2) == w * c) &&
         (blob.size(0) == 1 || blob.stride(0) == h * w * c);
}

// Calls `body` with a value of the type in which the blob is stored.
template <typename Body>
void dispatch_blob(DType dtype, Body&& body) {
  switch (dtype) {
    case DType::kFloat32:
      return body(float{});
    case DType::kFloat16:
      return body(Half{});
    case DType::kBFloat16:
      return body(BFloat16{});
    default:
      fail("preprocess: expected a blob of float32, float16 or bfloat16, got ", dtype_name(dtype));
  }
}

#endif

}  // namespace deeplab::preprocess
