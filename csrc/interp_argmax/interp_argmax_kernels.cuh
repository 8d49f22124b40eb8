// The kernels of interp_argmax. No host code: this also compiles at run time (NVRTC).
#pragma once

#include "../common/loops.cuh"
#include "../interp/sample.cuh"
#include "interp_argmax.h"

namespace deeplab::interp_argmax {

using interp::ResizedAxis;
using interp::Tap;
using interp::Window;

// Neighbouring threads have neighbouring columns: reads hit the same cache lines, writes are coalesced.
template <typename last_t, typename stored_t, typename label_t>
__global__ void labels_kernel(const stored_t* scores, Strides strides, int64_t channels, label_t* labels, int64_t count,
                              ResizedAxis rows, ResizedAxis columns, Window window) {
  using scalar_t = compute_t<stored_t>;
  const int64_t strips = interp::strips(window.height);
  DEEPLAB_GRID_STRIDE_LOOP(index, count) {
    const int64_t x = index % window.width;
    const int64_t strip = index / window.width;
    const int64_t item = strip / strips, y = strip % strips * interp::kStripRows;
    const Tap<scalar_t> tx = interp::tap<scalar_t>(columns, window.left + x);
    Tap<scalar_t> ty[interp::kStripRows];
    scalar_t leader[interp::kStripRows];
    int32_t leading[interp::kStripRows];
#pragma unroll
    for (int r = 0; r < interp::kStripRows; ++r) {
      const int64_t row = window.top + (y + r < window.height ? y + r : window.height - 1);
      ty[r] = interp::tap<scalar_t>(rows, row);
    }
    const stored_t* plane = scores + item * strides.n;
    for (int32_t c = 0; c < channels; ++c, plane += strides.c) {
      int64_t read = -1;
      scalar_t low = 0, high = 0;
#pragma unroll
      for (int r = 0; r < interp::kStripRows; ++r) {
        if (ty[r].low != read) {
          read = ty[r].low;
          low = interp::sample_row(plane + ty[r].low * strides.y, strides.x, tx);
          high = interp::sample_row(plane + ty[r].high * strides.y, strides.x, tx);
        }
        const scalar_t value = ty[r].near * low + ty[r].far * high;
        if (c == 0 || argmax::takes_lead<last_t::value>(value, leader[r])) {
          leader[r] = value;
          leading[r] = c;
        }
      }
    }
    label_t* target = labels + (item * window.height + y) * window.width + x;
#pragma unroll
    for (int r = 0; r < interp::kStripRows; ++r) {
      if (y + r < window.height) target[r * window.width] = static_cast<label_t>(leading[r]);
    }
  }
}

}  // namespace deeplab::interp_argmax
