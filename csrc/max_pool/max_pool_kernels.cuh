// The kernel of max_pool. No host code: this also compiles at run time (NVRTC).
#pragma once

#include "../common/loops.cuh"
#include "max_pool.h"

namespace deeplab::max_pool {

// Blocks of the second dimension take rows of outputs, threads the packs of one row: neighbours in a warp read and
// write neighbouring channels, and the windows' overlaps come from the caches.
template <typename bits_t, typename count_t>
__global__ void forward_kernel(const Pack<bits_t, count_t::value>* input, Pack<bits_t, count_t::value>* output,
                               int64_t image_rows, int32_t packs, Axis rows, Axis columns, bits_t lowest) {
  constexpr int kCount = count_t::value;
  const int32_t row_packs = static_cast<int32_t>(columns.out) * packs;
  for (int64_t row = blockIdx.y; row < image_rows; row += gridDim.y) {
    const Range ys = window(rows, row % rows.out);
    const Pack<bits_t, kCount>* image = input + row / rows.out * rows.in * columns.in * packs;
    for (int32_t index = static_cast<int32_t>(blockIdx.x * blockDim.x + threadIdx.x); index < row_packs;
         index += static_cast<int32_t>(blockDim.x * gridDim.x)) {
      const Range xs = window(columns, index / packs);
      Pack<bits_t, kCount> best;
#pragma unroll
      for (int i = 0; i < kCount; ++i) best.of[i] = ordered(lowest);
      for (int64_t y = ys.begin; y < ys.end; ++y) {
        for (int64_t x = xs.begin; x < xs.end; ++x) {
          const Pack<bits_t, kCount> pixel = image[(y * columns.in + x) * packs + index % packs];
#pragma unroll
          for (int i = 0; i < kCount; ++i) {
            const bits_t value = ordered(pixel.of[i]);
            best.of[i] = value > best.of[i] ? value : best.of[i];
          }
        }
      }
#pragma unroll
      for (int i = 0; i < kCount; ++i) best.of[i] = ordered(best.of[i]);
      output[row * row_packs + index] = best;
    }
  }
}

}  // namespace deeplab::max_pool
