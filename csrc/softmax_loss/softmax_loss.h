// Softmax followed by the weighted logistic loss, as DeepLab v1's SOFTMAX_LOSS layer does them.
//
// The rule (the original's layers/softmax_loss_layer.cpp:69-140): a label is truncated toward zero; pixels with ignored
// labels are left out; loss = sum of w[y] * -log(max(p[y], FLT_MIN)) over the sum of w[y], gradient = w[y] * (p -
// onehot(y)) over the same sum. Without a valid label the original computes 0 / 0: here both are 0. A label that is
// neither a class nor ignored makes both NaN, and its position is reported.
#pragma once

#include <cfloat>
#include <cmath>
#include <cstdint>
#include <limits>

#include "../common/host_device.h"
#include "../common/tensor_view.h"

namespace deeplab::softmax_loss {

// Pixels per partial sum. Fixed, so that sums have the same order for any number of threads.
constexpr int64_t kChunk = 256;

inline int64_t chunks_for(int64_t pixels) { return (pixels + kChunk - 1) / kChunk; }

constexpr int kMaxIgnored = 256;

// Passed to a kernel by value, which is why its size is bounded.
struct IgnoredLabels {
  int count;
  int32_t values[kMaxIgnored];
};

constexpr int64_t kNoLabel = std::numeric_limits<int64_t>::min();  // what NaN and numbers beyond int64 become
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

template <typename float_t>
DEEPLAB_HOST_DEVICE int64_t truncate_label(float_t value) {
  constexpr float_t kLimit = float_t(9.2e18);
  return value > -kLimit && value < kLimit ? static_cast<int64_t>(value) : kNoLabel;
}

DEEPLAB_HOST_DEVICE int64_t load_label(const void* labels, DType dtype, int64_t index) {
  switch (dtype) {
    case DType::kFloat32:
      return truncate_label(static_cast<const float*>(labels)[index]);
    case DType::kFloat64:
      return truncate_label(static_cast<const double*>(labels)[index]);
    case DType::kUInt8:
      return static_cast<const uint8_t*>(labels)[index];
    case DType::kInt16:
      return static_cast<const int16_t*>(labels)[index];
    case DType::kInt32:
      return static_cast<const int32_t*>(labels)[index];
    default:
      return static_cast<const int64_t*>(labels)[index];
  }
}

DEEPLAB_HOST_DEVICE bool is_ignored(const IgnoredLabels& ignored, int64_t label) {
  for (int i = 0; i < ignored.count; ++i) {
    if (label == ignored.values[i]) return true;
  }
  return false;
}

template <typename scalar_t>
DEEPLAB_HOST_DEVICE scalar_t probability(scalar_t score, scalar_t maximum, scalar_t sum) {
  return std::exp(score - maximum) / sum;
}

// Written so that a NaN stays one.
template <typename scalar_t>
DEEPLAB_HOST_DEVICE scalar_t negative_log_likelihood(scalar_t p) {
  return -std::log(p < scalar_t(FLT_MIN) ? scalar_t(FLT_MIN) : p);
}

// Sums over pixels; `first_bad` is the smallest index of a pixel with an unexpected label, or -1.
struct Totals {
  double loss;
  double weight;
  double first_bad;  // a double, to share one buffer with its neighbours; exact up to 2^53

  DEEPLAB_HOST_DEVICE void add(const Totals& other) {
    loss += other.loss;
    weight += other.weight;
    if (first_bad < 0 || (other.first_bad >= 0 && other.first_bad < first_bad)) first_bad = other.first_bad;
  }
};

DEEPLAB_HOST_DEVICE double final_loss(const Totals& totals) {
  if (totals.first_bad >= 0) return kNaN;
  return totals.weight > 0 ? totals.loss / totals.weight : 0.0;
}

// The factor of every pixel's gradient.
DEEPLAB_HOST_DEVICE double gradient_scale(double grad_loss, const Totals& totals) {
  if (totals.first_bad >= 0) return kNaN;
  return totals.weight > 0 ? grad_loss / totals.weight : 0.0;
}

}  // namespace deeplab::softmax_loss
