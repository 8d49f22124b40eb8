// Shared by operations on images (N, C, H, W). No host code but strides_of: this also compiles at run time (NVRTC).
#pragma once

#include <cstdint>

#include "tensor_view.h"

namespace deeplab {

// Strides of a tensor (N, C, H, W), in elements.
struct Strides {
  int64_t n, c, y, x;
};

// One axis of a sliding window: tap t of output o reads input o * stride - pad + t * dilation.
struct Axis {
  int64_t in, out, kernel, pad, stride, dilation;
};

#ifndef __CUDACC_RTC__

inline Strides strides_of(const TensorView& tensor) {
  return {tensor.stride(0), tensor.stride(1), tensor.stride(2), tensor.stride(3)};
}

#endif

}  // namespace deeplab
