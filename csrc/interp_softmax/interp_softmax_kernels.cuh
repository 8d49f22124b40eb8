// The kernels of interp_softmax. No host code: this also compiles at run time (NVRTC).
#pragma once

#include "../common/loops.cuh"
#include "../interp/sample.cuh"
#include "interp_softmax.h"

namespace deeplab::interp_softmax {

using interp::ResizedAxis;
using interp::Tap;
using interp::Window;

template <typename held_t, typename stored_t>
__global__ void probabilities_kernel(const stored_t* scores, Strides strides, int64_t channels,
                                     compute_t<stored_t>* probabilities, int64_t count, ResizedAxis rows,
                                     ResizedAxis columns, Window window) {
  constexpr int kHeld = held_t::value;
  using scalar_t = compute_t<stored_t>;
  const int64_t pixels = window.height * window.width;
  DEEPLAB_GRID_STRIDE_LOOP(index, count) {
    const int64_t item = index / pixels, pixel = index % pixels;
    const Tap<scalar_t> ty = interp::tap<scalar_t>(rows, window.top + pixel / window.width);
    const Tap<scalar_t> tx = interp::tap<scalar_t>(columns, window.left + pixel % window.width);
    const stored_t* source = scores + item * strides.n;
    scalar_t* target = probabilities + item * channels * pixels + pixel;
    scalar_t largest = 0, sum = 0;
    if constexpr (kHeld > 0) {
      scalar_t held[kHeld];
#pragma unroll
      for (int c = 0; c < kHeld; ++c) {
        if (c < channels) {
          held[c] = interp::sample(source + c * strides.c, strides, ty, tx);
          largest = c == 0 ? held[c] : larger(largest, held[c]);
        }
      }
#pragma unroll
      for (int c = 0; c < kHeld; ++c) {
        if (c < channels) {
          held[c] = exponential(held[c] - largest);
          sum += held[c];
        }
      }
#pragma unroll
      for (int c = 0; c < kHeld; ++c) {
        if (c < channels) target[c * pixels] = held[c] / sum;
      }
    } else {
      for (int64_t c = 0; c < channels; ++c) {
        const scalar_t value = interp::sample(source + c * strides.c, strides, ty, tx);
        largest = c == 0 ? value : larger(largest, value);
      }
      for (int64_t c = 0; c < channels; ++c) {
        sum += exponential(interp::sample(source + c * strides.c, strides, ty, tx) - largest);
      }
      for (int64_t c = 0; c < channels; ++c) {
        target[c * pixels] = exponential(interp::sample(source + c * strides.c, strides, ty, tx) - largest) / sum;
      }
    }
  }
}

}  // namespace deeplab::interp_softmax
