// Maximum over windows of channels-last images, for inference: without the indices of the maxima that torch also
// writes, eight bytes each for values of two bytes.
//
// The rule (the original's layers/pooling_layer.cpp:166-207): windows start at stride * index - pad and are clipped to
// the image; a window wholly outside gives the lowest number. Numbers are compared by their bits, in the order of IEEE
// 754's totalOrder: -0 before +0, and a NaN with sign bit 0 above all.
#pragma once

#include <cstdint>
#include <type_traits>

#include "../common/host_device.h"
#include "../common/nchw.h"
#include "../common/pack.h"

namespace deeplab::max_pool {

struct Range {
  int64_t begin, end;
};

DEEPLAB_HOST_DEVICE Range window(const Axis& axis, int64_t index) {
  const int64_t start = index * axis.stride - axis.pad, stop = start + axis.kernel;
  return {start < 0 ? 0 : start, stop > axis.in ? axis.in : stop};
}

// Bits of a float as an integer of the same order, and back: it is its own inverse. bits_t is int16_t or int32_t.
template <typename bits_t>
DEEPLAB_HOST_DEVICE bits_t ordered(bits_t bits) {
  constexpr bits_t kMagnitude = static_cast<bits_t>((uint64_t{1} << (8 * sizeof(bits_t) - 1)) - 1);
  return static_cast<bits_t>(bits ^ ((bits >> (8 * sizeof(bits_t) - 1)) & kMagnitude));
}

#ifndef __CUDACC_RTC__

// Bits of the lowest number of a dtype.
inline int32_t lowest_bits(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return static_cast<int32_t>(0xff7fffff);
    case DType::kBFloat16:
      return static_cast<int16_t>(0xff7f);
    case DType::kFloat16:
      return static_cast<int16_t>(0xfbff);
    default:
      fail("max_pool: expected float32, float16 or bfloat16, got ", dtype_name(dtype));
  }
}

// Calls `body` with a value of the integer type as wide as the dtype.
template <typename Body>
void dispatch_bits(DType dtype, Body&& body) {
  lowest_bits(dtype);
  if (dtype == DType::kFloat32) return body(int32_t{});
  return body(int16_t{});
}

// input (N, C, H, W) and output (N, C, OH, OW), both channels-last without gaps.
void forward_cpu(const TensorView& input, const TensorView& output, const Axis& rows, const Axis& columns);
void forward_cuda(const TensorView& input, const TensorView& output, const Axis& rows, const Axis& columns,
                  uintptr_t stream);

#endif

}  // namespace deeplab::max_pool
