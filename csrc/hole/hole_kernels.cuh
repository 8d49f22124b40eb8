// The kernels of im2col and col2im. No host code: this also compiles at run time (NVRTC).
#pragma once

#include "../common/loops.cuh"
#include "hole.h"

namespace deeplab::hole {

// One thread per output pixel of a channel writes all taps: what it costs to find the pixel is shared by the kernel's
// area, writes are coalesced in every row of the columns, and so are reads where the stride is 1.
template <typename scalar_t, typename index_t>
__global__ void im2col_kernel(const scalar_t* input, Strides strides,  // (N, C, H, W)
                              scalar_t* columns,                       // (N, C * kernel_h * kernel_w, OH, OW)
                              int64_t count,                           // N * C * OH * OW
                              index_t channels, Geometry geometry) {
  const index_t out_w = static_cast<index_t>(geometry.x.out), out_h = static_cast<index_t>(geometry.y.out);
  const index_t in_w = static_cast<index_t>(geometry.x.in), in_h = static_cast<index_t>(geometry.y.in);
  const index_t kernel_w = static_cast<index_t>(geometry.x.kernel);
  const index_t kernel_h = static_cast<index_t>(geometry.y.kernel);
  const int64_t out_plane = geometry.y.out * geometry.x.out;
  DEEPLAB_GRID_STRIDE_LOOP(item, count) {
    const index_t index = static_cast<index_t>(item);
    const index_t row = index / out_w;
    const index_t plane = row / out_h;
    const index_t out_x = index % out_w, out_y = row % out_h;
    const scalar_t* image =
        input + static_cast<int64_t>(plane / channels) * strides.n + static_cast<int64_t>(plane % channels) * strides.c;
    scalar_t* target = columns + static_cast<int64_t>(plane) * kernel_h * kernel_w * out_plane +
                       static_cast<int64_t>(out_y) * out_w + out_x;
    for (index_t ky = 0; ky < kernel_h; ++ky) {
      const index_t y = source<index_t>(geometry.y, out_y, ky);
      for (index_t kx = 0; kx < kernel_w; ++kx, target += out_plane) {
        const index_t x = source<index_t>(geometry.x, out_x, kx);
        const bool is_inside = y >= 0 && y < in_h && x >= 0 && x < in_w;
        *target =
            is_inside ? image[static_cast<int64_t>(y) * strides.y + static_cast<int64_t>(x) * strides.x] : scalar_t(0);
      }
    }
  }
}

// One thread per input pixel gathers from every column that read it: no atomics, so the sum has one order.
template <typename scalar_t, typename index_t>
__global__ void col2im_kernel(const scalar_t* columns,  // (N, C * kernel_h * kernel_w, OH, OW)
                              scalar_t* output,         // (N, C, H, W)
                              int64_t count, Geometry geometry) {
  const index_t in_w = static_cast<index_t>(geometry.x.in), in_h = static_cast<index_t>(geometry.y.in);
  const index_t out_w = static_cast<index_t>(geometry.x.out);
  const index_t kernel_w = static_cast<index_t>(geometry.x.kernel);
  const index_t kernel_h = static_cast<index_t>(geometry.y.kernel);
  const int64_t out_plane = geometry.y.out * geometry.x.out;
  DEEPLAB_GRID_STRIDE_LOOP(item, count) {
    const index_t index = static_cast<index_t>(item);
    const index_t x = index % in_w;
    const index_t y = index / in_w % in_h;
    const scalar_t* plane = columns + static_cast<int64_t>(index / in_w / in_h) * kernel_h * kernel_w * out_plane;
    scalar_t sum = 0;
    for (index_t ky = 0; ky < kernel_h; ++ky) {
      const index_t out_y = reader<index_t>(geometry.y, y, ky);
      if (out_y < 0) continue;
      for (index_t kx = 0; kx < kernel_w; ++kx) {
        const index_t out_x = reader<index_t>(geometry.x, x, kx);
        if (out_x >= 0) sum += plane[(ky * kernel_w + kx) * out_plane + out_y * out_w + out_x];
      }
    }
    output[item] = sum;
  }
}

}  // namespace deeplab::hole
