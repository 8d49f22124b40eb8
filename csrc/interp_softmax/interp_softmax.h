// Class probabilities of coarse scores at full size: interp and softmax in one, without the full-size scores in
// between.
//
// The rule: interp.h's scores; minus the largest of the pixel (a NaN makes all of the pixel NaN); exponential; divided
// by their sum, added up channel after channel. In float the exponential is the one below, so that every processor and
// device gives the same bits (below FLT_MIN not where CuPy compiles, with -ftz=true); in double it is the library's.
#pragma once

#include <cmath>
#include <cstdint>
#include <type_traits>

#include "../common/half.h"
#include "../interp/interp.h"

namespace deeplab::interp_softmax {

// exp(x) for x <= 0, to 1.5 units in the last place, gradually down to 0 below FLT_MIN; NaN for NaN. Without branches,
// so that loops over it vectorise. x = n ln 2 + r with |r| <= ln(2) / 2, and exp(r) by the polynomial of Cephes' expf.
DEEPLAB_HOST_DEVICE float exponential(float x) {
  constexpr float kLog2E = 1.44269504f;
  constexpr float kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f;  // the first has few bits: n times it is exact
  constexpr float kToInteger = 12582912.f;                             // 1.5 * 2^23: adding it rounds
  // -104: below it the result is less than half of the smallest float. A comparison of floats may trap, and GCC does
  // not vectorise one whose result is used in two ways; so the bits are compared and masked. As unsigned integers, the
  // bits of values below -104 lie above those of -104, up to those of -inf; above these come NaNs.
  constexpr uint32_t kVanishes = 0xc2d00000u, kInfinite = 0xff800000u;
  const uint32_t bits = float_bits(x);
  const uint32_t vanishes = 0u - static_cast<uint32_t>(bits - (kVanishes + 1) <= kInfinite - (kVanishes + 1));
  const float bounded = bits_float((bits & ~vanishes) | (kVanishes & vanishes));
  const float shifted = bounded * kLog2E + kToInteger;
  const float n = shifted - kToInteger;
  const float r = (bounded - n * kLn2High) - n * kLn2Low;
  float power = 1.9875691500e-4f;
  power = power * r + 1.3981999507e-3f;
  power = power * r + 8.3334519073e-3f;
  power = power * r + 4.1665795894e-2f;
  power = power * r + 1.6666665459e-1f;
  power = power * r + 5.0000001201e-1f;
  power = (power * r) * r + r + 1.f;
  // 2^n as two factors, because below 2^-126 it is not a normal float.
  const int32_t exponent = static_cast<int32_t>(float_bits(shifted)) - static_cast<int32_t>(float_bits(kToInteger));
  const int32_t half = exponent / 2;
  const float first = bits_float(static_cast<uint32_t>(half + 127) << 23);
  const float second = bits_float(static_cast<uint32_t>(exponent - half + 127) << 23);
  return (power * first) * second;
}

DEEPLAB_HOST_DEVICE double exponential(double x) { return exp(x); }

// The larger of two; NaN if either is NaN.
template <typename scalar_t>
DEEPLAB_HOST_DEVICE scalar_t larger(scalar_t a, scalar_t b) {
  return (a > b) | (a != a) ? a : b;
}

// Number of channels whose values a thread keeps in registers, so that each is computed once and written once. With
// more channels, values are computed again for each of the three passes: the source is small enough for the caches.
using MostHeld = std::integral_constant<int, 32>;
using NoneHeld = std::integral_constant<int, 0>;

// scores (N, C, H, W), any strides, any floating dtype; 16-bit ones are widened to float. probabilities (N, C,
// window.height, window.width), float32, or float64 for float64 scores, contiguous. `height` and `width` are the
// resized image's.
void probabilities_cpu(const TensorView& scores, const TensorView& probabilities, int64_t height, int64_t width,
                       const interp::Window& window, bool align_corners);
void probabilities_cuda(const TensorView& scores, const TensorView& probabilities, int64_t height, int64_t width,
                        const interp::Window& window, bool align_corners, uintptr_t stream);

}  // namespace deeplab::interp_softmax
