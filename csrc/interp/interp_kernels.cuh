// The kernels of interp. No host code: this also compiles at run time (NVRTC).
#pragma once

#include "../common/loops.cuh"
#include "interp.h"

namespace deeplab::interp {

template <typename scalar_t>
__global__ void forward_kernel(const scalar_t* input,  // (N, C, H, W), cropped: points at the first pixel that is read
                               Strides strides, scalar_t* output /* (N, C, OH, OW) */, int64_t count, int64_t channels,
                               Axis rows, Axis columns) {
  DEEPLAB_GRID_STRIDE_LOOP(index, count) {
    const int64_t x = index % columns.out;
    const int64_t y = index / columns.out % rows.out;
    const int64_t plane = index / (columns.out * rows.out);
    const scalar_t* source = input + plane / channels * strides.n + plane % channels * strides.c;
    const Tap<scalar_t> ty = tap<scalar_t>(rows, y);
    const Tap<scalar_t> tx = tap<scalar_t>(columns, x);
    const scalar_t* low = source + ty.low * strides.y;
    const scalar_t* high = source + ty.high * strides.y;
    output[index] = ty.near * (tx.near * low[tx.low * strides.x] + tx.far * low[tx.high * strides.x]) +
                    ty.far * (tx.near * high[tx.low * strides.x] + tx.far * high[tx.high * strides.x]);
  }
}

// One thread per input pixel gathers from every output that read it: no atomics, so the sum has one order.
template <typename scalar_t>
__global__ void backward_kernel(const scalar_t* grad_output,  // (N, C, OH, OW)
                                scalar_t* grad_input,         // (N, C, H, W)
                                int64_t count, int64_t height, int64_t width, int64_t crop, Axis rows, Axis columns) {
  DEEPLAB_GRID_STRIDE_LOOP(index, count) {
    const int64_t x = index % width - crop;
    const int64_t y = index / width % height - crop;
    scalar_t sum = 0;
    if (x >= 0 && x < columns.in && y >= 0 && y < rows.in) {
      const scalar_t* source = grad_output + index / (width * height) * rows.out * columns.out;
      int64_t y_begin, y_end, x_begin, x_end;
      touched_range(rows, y, y_begin, y_end);
      touched_range(columns, x, x_begin, x_end);
      for (int64_t oy = y_begin; oy < y_end; ++oy) {
        const scalar_t weight_y = tap_weight<scalar_t>(rows, oy, y);
        if (weight_y == scalar_t(0)) continue;
        scalar_t row_sum = 0;
        for (int64_t ox = x_begin; ox < x_end; ++ox) {
          row_sum += tap_weight<scalar_t>(columns, ox, x) * source[oy * columns.out + ox];
        }
        sum += weight_y * row_sum;
      }
    }
    grad_input[index] = sum;
  }
}

}  // namespace deeplab::interp
