// The kernels of argmax. No host code: this also compiles at run time (NVRTC).
#pragma once

#include "../common/loops.cuh"
#include "argmax.h"

namespace deeplab::argmax {

template <bool last, typename scalar_t>
__device__ int64_t top1(const scalar_t* column, int64_t channels, int64_t plane, scalar_t& value) {
  int64_t index = 0;
  value = column[0];
  for (int64_t c = 1; c < channels; ++c) {
    const scalar_t candidate = column[c * plane];
    if (takes_lead<last>(candidate, value)) {
      value = candidate;
      index = c;
    }
  }
  return index;
}

// One thread per pixel, neighbours in a warp: reads and writes are coalesced in every channel.
template <typename last_t, typename scalar_t, typename label_t>
__global__ void labels_kernel(const scalar_t* scores, label_t* labels, int64_t pixels, int64_t channels,
                              int64_t plane) {
  DEEPLAB_GRID_STRIDE_LOOP(pixel, pixels) {
    scalar_t value;
    labels[pixel] = static_cast<label_t>(
        top1<last_t::value>(scores + pixel / plane * channels * plane + pixel % plane, channels, plane, value));
  }
}

// The ranking is kept sorted by insertion in the output itself, so top_k has no limit. Channels come in rising order,
// so a new channel moves past every channel from which it takes the lead.
template <typename scalar_t>
__global__ void top_kernel(const scalar_t* scores, scalar_t* output, int64_t pixels, int64_t channels, int64_t plane,
                           int64_t top_k, int64_t out_channels) {
  DEEPLAB_GRID_STRIDE_LOOP(pixel, pixels) {
    const scalar_t* column = scores + pixel / plane * channels * plane + pixel % plane;
    scalar_t* ranked = output + pixel / plane * out_channels * plane + pixel % plane;
    if (top_k == 1) {
      scalar_t value;
      ranked[0] = static_cast<scalar_t>(top1<true>(column, channels, plane, value));
      if (out_channels > 1) ranked[plane] = value;
      continue;
    }
    for (int64_t c = 0; c < channels; ++c) {
      const scalar_t candidate = column[c * plane];
      int64_t rank = c < top_k ? c : top_k;
      for (; rank > 0; --rank) {
        const scalar_t better = ranked[(rank - 1) * plane];
        if (!takes_lead<true>(candidate, column[static_cast<int64_t>(better) * plane])) break;
        if (rank < top_k) ranked[rank * plane] = better;
      }
      if (rank < top_k) ranked[rank * plane] = static_cast<scalar_t>(c);
    }
    if (out_channels > top_k) {
      for (int64_t k = 0; k < top_k; ++k) {
        ranked[(top_k + k) * plane] = column[static_cast<int64_t>(ranked[k * plane]) * plane];
      }
    }
  }
}

}  // namespace deeplab::argmax
