// The kernels of softmax_loss. No host code: this also compiles at run time (NVRTC).
#pragma once

#include "../common/loops.cuh"
#include "softmax_loss.h"

namespace deeplab::softmax_loss {

static_assert(kChunk == kThreadsPerBlock, "a block reduces one chunk, one pixel per thread");

// Sums the block's values in a tree of fixed shape; thread 0 gets the result. At the end all threads have finished
// reading, so that the buffer may be used again.
__device__ Totals reduce_block(const Totals& mine) {
  __shared__ Totals values[kThreadsPerBlock];
  values[threadIdx.x] = mine;
  __syncthreads();
  for (unsigned int half = kThreadsPerBlock / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) values[threadIdx.x].add(values[threadIdx.x + half]);
    __syncthreads();
  }
  const Totals result = values[0];
  __syncthreads();
  return result;
}

template <typename scalar_t>
__global__ void forward_kernel(const scalar_t* scores, const void* labels, DType label_dtype, const scalar_t* weights,
                               IgnoredLabels ignored, scalar_t* stats, Totals* partial, int64_t pixels,
                               int64_t channels, int64_t plane) {
  for (int64_t chunk = blockIdx.x; chunk * kChunk < pixels; chunk += gridDim.x) {
    const int64_t pixel = chunk * kChunk + threadIdx.x;
    Totals mine{0, 0, -1};
    if (pixel < pixels) {
      const int64_t item = pixel / plane, offset = pixel % plane;
      const scalar_t* column = scores + item * channels * plane + offset;
      scalar_t maximum = column[0];
      for (int64_t c = 1; c < channels; ++c) maximum = column[c * plane] > maximum ? column[c * plane] : maximum;
      scalar_t sum = 0;
      for (int64_t c = 0; c < channels; ++c) sum += std::exp(column[c * plane] - maximum);
      stats[item * 2 * plane + offset] = maximum;
      stats[(item * 2 + 1) * plane + offset] = sum;
      const int64_t label = load_label(labels, label_dtype, pixel);
      if (!is_ignored(ignored, label)) {
        if (label < 0 || label >= channels) {
          mine.first_bad = static_cast<double>(pixel);
        } else {
          const scalar_t weight = weights ? weights[label] : scalar_t(1);
          mine.loss = weight * negative_log_likelihood(probability(column[label * plane], maximum, sum));
          mine.weight = weight;
        }
      }
    }
    const Totals total = reduce_block(mine);
    if (threadIdx.x == 0) partial[chunk] = total;
  }
}

template <typename scalar_t>
__global__ void combine_kernel(const Totals* partial, int64_t chunks, Totals* totals, scalar_t* loss) {
  Totals mine{0, 0, -1};
  for (int64_t chunk = threadIdx.x; chunk < chunks; chunk += kThreadsPerBlock) mine.add(partial[chunk]);
  const Totals total = reduce_block(mine);
  if (threadIdx.x == 0) {
    *totals = total;
    *loss = static_cast<scalar_t>(final_loss(total));
  }
}

template <typename scalar_t, typename index_t>
__global__ void backward_kernel(const scalar_t* scores, const void* labels, DType label_dtype, const scalar_t* weights,
                                IgnoredLabels ignored, const scalar_t* stats, const Totals* totals,
                                const scalar_t* grad_loss, scalar_t* grad_scores, int64_t count, index_t channels,
                                index_t plane) {
  const scalar_t scale = static_cast<scalar_t>(gradient_scale(*grad_loss, *totals));
  DEEPLAB_GRID_STRIDE_LOOP(index, count) {
    const index_t plane_index = static_cast<index_t>(index) / plane;
    const int64_t offset = static_cast<index_t>(index) % plane;
    const int64_t c = plane_index % channels, item = plane_index / channels;
    const int64_t label = load_label(labels, label_dtype, item * plane + offset);
    scalar_t value = 0;
    if (label >= 0 && label < channels && !is_ignored(ignored, label)) {
      const scalar_t factor = weights ? weights[label] * scale : scale;
      // Not a product with 0: a class of weight 0 has gradient 0 even if its scores are not finite.
      if (factor != scalar_t(0)) {
        const scalar_t p =
            probability(scores[index], stats[item * 2 * plane + offset], stats[(item * 2 + 1) * plane + offset]);
        value = (p - scalar_t(label == c)) * factor;
      }
    }
    grad_scores[index] = value;
  }
}

}  // namespace deeplab::softmax_loss
