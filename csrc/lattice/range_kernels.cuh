// The range of each channel of an image. No host code: this also compiles at run time (NVRTC).
#pragma once

#include <cmath>
#include <cstdint>

#include "../common/loops.cuh"

namespace deeplab::lattice {

__global__ void channel_range_kernel(const void* data, int32_t is_byte, int64_t stride_y, int64_t stride_x,
                                     int64_t stride_c, int32_t width, int64_t points, int32_t* lows, int32_t* highs) {
  __shared__ int32_t low[kThreadsPerBlock], high[kThreadsPerBlock];
  const int channel = static_cast<int>(blockIdx.y), thread = static_cast<int>(threadIdx.x);
  int32_t least = INT32_MAX, most = -INT32_MAX - 1;
  DEEPLAB_GRID_STRIDE_LOOP(point, points) {
    const int64_t offset = point / width * stride_y + point % width * stride_x + channel * stride_c;
    float value = is_byte ? static_cast<float>(static_cast<const uint8_t*>(data)[offset])
                          : static_cast<const float*>(data)[offset];
    if (!(value == value)) value = INFINITY;
    // Floats as integers of the same order.
    const int32_t bits = __float_as_int(value);
    const int32_t ordered = bits >= 0 ? bits : bits ^ INT32_MAX;
    least = ordered < least ? ordered : least;
    most = ordered > most ? ordered : most;
  }
  low[thread] = least;
  high[thread] = most;
  __syncthreads();
  for (int half = kThreadsPerBlock / 2; half > 0; half /= 2) {
    if (thread < half) {
      low[thread] = low[thread + half] < low[thread] ? low[thread + half] : low[thread];
      high[thread] = high[thread + half] > high[thread] ? high[thread + half] : high[thread];
    }
    __syncthreads();
  }
  if (thread == 0) {
    atomicMin(&lows[channel], low[0]);
    atomicMax(&highs[channel], high[0]);
  }
}

}  // namespace deeplab::lattice
