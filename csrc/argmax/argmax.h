// The highest channels of each pixel.
//
// The rule (the original's layers/argmax_layer.cpp:46-48): channels are ranked by value, and on ties the LARGER index
// ranks first. The densecrf programs take the FIRST maximum instead (libDenseCRF/densecrf.cpp:201). The original's
// result is undefined for NaN; here a NaN ranks below every number, so it wins only if all channels are NaN.
#pragma once

#include <cstdint>
#include <type_traits>

#include "../common/host_device.h"
#include "../common/tensor_view.h"

namespace deeplab::argmax {

// Whether a channel takes the lead from a channel with a smaller index. Bitwise operators avoid branches, so that loops
// vectorise.
template <bool last, typename scalar_t>
DEEPLAB_HOST_DEVICE bool takes_lead(scalar_t value, scalar_t leader) {
  if (last) return (value >= leader) | (leader != leader);
  return (value > leader) | ((leader != leader) & (value == value));
}

// scores (N, C, H, W), contiguous; output (N, top_k, H, W) indices or (N, 2 * top_k, H, W) indices then values, of the
// scores' dtype, contiguous.
void top_cpu(const TensorView& scores, const TensorView& output, int64_t top_k);
void top_cuda(const TensorView& scores, const TensorView& output, int64_t top_k, uintptr_t stream);
// labels (N, H, W), uint8 or int64, contiguous; `last`: on ties the last channel wins instead of the first.
void labels_cpu(const TensorView& scores, const TensorView& labels, bool last);
void labels_cuda(const TensorView& scores, const TensorView& labels, bool last, uintptr_t stream);

// Calls body(std::true_type or std::false_type, a value of the label type).
template <typename Body>
void dispatch_labels(DType dtype, bool last, Body&& body) {
  const auto with_ties = [&](auto label) {
    if (last) {
      body(std::true_type{}, label);
    } else {
      body(std::false_type{}, label);
    }
  };
  if (dtype == DType::kUInt8) {
    with_ties(uint8_t{});
  } else {
    with_ties(int64_t{});
  }
}

}  // namespace deeplab::argmax
