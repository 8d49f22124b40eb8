// 16-bit floats in memory. Nothing is computed in them: they are widened to float when they are read, and rounded to
// nearest, ties to even, when they are written, by the same rule on every device.
#pragma once

#include <cstdint>
#include <cstring>

#include "host_device.h"
#include "tensor_view.h"

namespace deeplab {

struct Half {
  uint16_t bits;
};

struct BFloat16 {
  uint16_t bits;
};

DEEPLAB_HOST_DEVICE uint32_t float_bits(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof(bits));
  return bits;
}

DEEPLAB_HOST_DEVICE float bits_float(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof(value));
  return value;
}

DEEPLAB_HOST_DEVICE float widen(float value) { return value; }
DEEPLAB_HOST_DEVICE double widen(double value) { return value; }
DEEPLAB_HOST_DEVICE float widen(BFloat16 value) { return bits_float(static_cast<uint32_t>(value.bits) << 16); }
DEEPLAB_HOST_DEVICE float widen(Half value) {
#ifdef __CUDA_ARCH__  // not by cuda_fp16.h, which NVRTC may be without
  float wide;
  asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(value.bits));
  return wide;
#else
  constexpr uint32_t kLeastNormal = 0x0400, kInfinity = 0x7c00;
  constexpr uint32_t kExponents = 112u << 23;  // what lies between the two formats' exponents of 1
  const uint32_t sign = (value.bits & 0x8000u) << 16;
  const uint32_t magnitude = value.bits & 0x7fffu;
  // Subnormal halves are multiples of 2^-24.
  const uint32_t small = float_bits(static_cast<float>(static_cast<int32_t>(magnitude)) * 0x1p-24f);
  const uint32_t normal = (magnitude << 13) + kExponents;
  const uint32_t endless = (magnitude << 13) + 2 * kExponents;
  return bits_float(sign | (magnitude < kLeastNormal ? small : magnitude < kInfinity ? normal : endless));
#endif
}

template <typename stored_t>
DEEPLAB_HOST_DEVICE stored_t narrow(float value);

template <>
DEEPLAB_HOST_DEVICE float narrow<float>(float value) {
  return value;
}

template <>
DEEPLAB_HOST_DEVICE BFloat16 narrow<BFloat16>(float value) {
  const uint32_t bits = float_bits(value);
  if (value != value) return {static_cast<uint16_t>(bits >> 16 | 0x40)};
  return {static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}

template <>
DEEPLAB_HOST_DEVICE Half narrow<Half>(float value) {
#ifdef __CUDA_ARCH__
  Half rounded;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(rounded.bits) : "f"(value));
  return rounded;
#else
  constexpr uint32_t kInfinity = 0x7f800000, kTooLarge = 0x477ff000 /* 65520 */, kLeastNormal = 0x38800000 /* 2^-14 */;
  const uint32_t bits = float_bits(value);
  const uint32_t sign = bits >> 16 & 0x8000;
  const uint32_t magnitude = bits & 0x7fffffff;
  uint32_t half;
  if (magnitude > kInfinity) {
    half = 0x7e00;
  } else if (magnitude >= kTooLarge) {
    half = 0x7c00;
  } else if (magnitude < kLeastNormal) {
    // From 0.5 on, the last place of a float is 2^-24, like that of a subnormal half, so the addition rounds correctly.
    half = float_bits(bits_float(magnitude) + 0.5f) - float_bits(0.5f);
  } else {
    half = (magnitude - (112u << 23) + 0xfff + (magnitude >> 13 & 1)) >> 13;
  }
  return {static_cast<uint16_t>(sign | half)};
#endif
}

// The type of computations with values that are stored as stored_t.
template <typename stored_t>
using compute_t = decltype(widen(stored_t{}));

#ifndef __CUDACC_RTC__

// Calls `body` with a value of the type in which scores of any floating dtype are stored.
template <typename Body>
void dispatch_stored(DType dtype, const char* operation, Body&& body) {
  switch (dtype) {
    case DType::kFloat32:
      return body(float{});
    case DType::kFloat64:
      return body(double{});
    case DType::kFloat16:
      return body(Half{});
    case DType::kBFloat16:
      return body(BFloat16{});
    default:
      fail(operation, ": expected float32, float64, float16 or bfloat16, got ", dtype_name(dtype));
  }
}

#endif

}  // namespace deeplab
