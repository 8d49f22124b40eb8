// The kernels of interp. No host code: this also compiles at run time (NVRTC).
#pragma once

#include "../common/loops.cuh"
#include "interp.h"
#include "sample.cuh"

namespace deeplab::interp {

// One thread per column of a strip of rows: if the image is enlarged, most of them lie between the same two source
// rows, which are resized along x only once. Writes are coalesced in every row.
template <typename scalar_t, typename index_t>
__global__ void forward_kernel(const scalar_t* input,  // (N, C, H, W), cropped: points at the first pixel that is read
                               Strides strides, scalar_t* output,  // (N, C, OH, OW)
                               int64_t count,                      // N * C * strips * OW
                               index_t channels, ResizedAxis rows, ResizedAxis columns) {
  const index_t width = static_cast<index_t>(columns.out);
  const index_t plane_strips = static_cast<index_t>(strips(rows.out));
  DEEPLAB_GRID_STRIDE_LOOP(item, count) {
    const index_t index = static_cast<index_t>(item);
    const index_t strip = index / width;
    const index_t plane = strip / plane_strips;
    const index_t x = index % width;
    const int64_t first = static_cast<int64_t>(strip % plane_strips) * kStripRows;
    const scalar_t* source =
        input + static_cast<int64_t>(plane / channels) * strides.n + static_cast<int64_t>(plane % channels) * strides.c;
    scalar_t* target = output + (plane * rows.out + first) * columns.out + x;
    const Tap<scalar_t> tx = tap<scalar_t>(columns, x);
    int64_t read = -1;
    scalar_t low = 0, high = 0;
#pragma unroll
    for (int r = 0; r < kStripRows; ++r) {
      if (first + r >= rows.out) break;
      const Tap<scalar_t> ty = tap<scalar_t>(rows, first + r);
      if (ty.low != read) {
        read = ty.low;
        low = sample_row(source + ty.low * strides.y, strides.x, tx);
        high = sample_row(source + ty.high * strides.y, strides.x, tx);
      }
      target[r * columns.out] = ty.near * low + ty.far * high;
    }
  }
}

// One thread per input pixel gathers from every output that read it: no atomics, so the sum has one order.
template <typename scalar_t>
__global__ void backward_kernel(const scalar_t* grad_output,  // (N, C, OH, OW)
                                scalar_t* grad_input,         // (N, C, H, W)
                                int64_t count, int64_t height, int64_t width, int64_t crop, ResizedAxis rows,
                                ResizedAxis columns) {
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
