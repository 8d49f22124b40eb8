// ReLU with an upper bound, applied to a convolution's sums in registers.
#pragma once

#include "simd.h"

namespace deeplab {

// max(value, 0), and at most `ceiling`; a NaN stays a NaN. For a vector or a float.
template <typename Value>
DEEPLAB_ALWAYS_INLINE void rectify(Value& value, float ceiling) {
  value = value < 0 ? Value{} : value;
  value = value > ceiling ? Value{} + ceiling : value;
}

}  // namespace deeplab
