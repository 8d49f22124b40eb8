// One value of a resized blob, as a thread computes it: interp's arithmetic, horizontally first.
#pragma once

#include "../common/half.h"
#include "interp.h"

namespace deeplab::interp {

// A row of the source between two of its columns.
template <typename stored_t>
DEEPLAB_HOST_DEVICE compute_t<stored_t> sample_row(const stored_t* row, int64_t stride,
                                                   const Tap<compute_t<stored_t>>& tx) {
  return tx.near * widen(row[tx.low * stride]) + tx.far * widen(row[tx.high * stride]);
}

template <typename stored_t>
DEEPLAB_HOST_DEVICE compute_t<stored_t> sample(const stored_t* plane, const Strides& strides,
                                               const Tap<compute_t<stored_t>>& ty, const Tap<compute_t<stored_t>>& tx) {
  return ty.near * sample_row(plane + ty.low * strides.y, strides.x, tx) +
         ty.far * sample_row(plane + ty.high * strides.y, strides.x, tx);
}

}  // namespace deeplab::interp
