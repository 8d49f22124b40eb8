// The original's approximation of exp, for either device.
#pragma once

#include "../common/host_device.h"

namespace deeplab::mean_field {

// exp(x) for x <= 0 as the original's fast_exp computes it: 0 below -20; the argument halved until it is at most 0.69
// (0.69f for its 0.69: no float lies between them), the polynomial of Abramowitz and Stegun 4.2.45 for exp(-y) on
// [0, ln 2] (error below 2e-10), squared back. Without branches, so that loops over it vectorise.
DEEPLAB_HOST_DEVICE float fast_exp(float x) {
  constexpr int kHalvings = 5;  // 20 / 2^5 < 0.69
  constexpr float kHalfAbove = 0.69f;
  constexpr float kZeroAbove = 20.f;
  const bool vanishes = -x > kZeroAbove;
  float y = vanishes ? kZeroAbove : -x;
  bool halved[kHalvings];
  for (int i = 0; i < kHalvings; ++i) {
    halved[i] = y > kHalfAbove;
    y = halved[i] ? 0.5f * y : y;
  }
  float power = 0.0001413161f;
  power = 0.0013298820f - y * power;
  power = 0.0083013598f - y * power;
  power = 0.0416573475f - y * power;
  power = 0.1666653019f - y * power;
  power = 0.4999999206f - y * power;
  power = 0.9999999995f - y * power;
  power = 1.f - y * power;
  for (int i = 0; i < kHalvings; ++i) power = halved[i] ? power * power : power;
  return vanishes ? 0.f : power;
}

}  // namespace deeplab::mean_field
