// What becomes of a convolution's sum behind it, while it is in a register.
#pragma once

#include "simd.h"

namespace deeplab {

// max(value, 0), and at most `ceiling`; what is not a number stays so. A vector or a float.
template <typename Value>
DEEPLAB_ALWAYS_INLINE void rectify(Value& value, float ceiling) {
  value = value < 0 ? Value{} : value;
  value = value > ceiling ? Value{} + ceiling : value;
}

}  // namespace deeplab
