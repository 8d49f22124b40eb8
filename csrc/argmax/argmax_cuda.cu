#include "../common/cuda_utils.cuh"
#include "argmax.h"

namespace deeplab::argmax {
namespace {

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
template <bool last, typename scalar_t, typename label_t>
__global__ void labels_kernel(const scalar_t* scores, label_t* labels, int64_t pixels, int64_t channels,
                              int64_t plane) {
  DEEPLAB_GRID_STRIDE_LOOP(pixel, pixels) {
    scalar_t value;
    labels[pixel] = static_cast<label_t>(
        top1<last>(scores + pixel / plane * channels * plane + pixel % plane, channels, plane, value));
  }
}

// The ranking is kept sorted by insertion in the output itself, so top_k has no limit. Channels come in rising order,
// therefore a newcomer passes everyone whose lead it takes.
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

}  // namespace

void top_cuda(const TensorView& scores, const TensorView& output, int64_t top_k, uintptr_t stream) {
  if (output.numel() == 0) return;
  DeviceGuard guard(scores.device);
  const int64_t plane = scores.size(2) * scores.size(3), pixels = scores.size(0) * plane;
  dispatch_floating(scores.dtype, "argmax", [&](auto zero) {
    using scalar_t = decltype(zero);
    top_kernel<scalar_t><<<blocks_for(pixels), kThreadsPerBlock, 0, as_stream(stream)>>>(
        scores.ptr<const scalar_t>(), output.ptr<scalar_t>(), pixels, scores.size(1), plane, top_k, output.size(1));
  });
  check_cuda(cudaGetLastError(), "argmax");
}

void labels_cuda(const TensorView& scores, const TensorView& labels, bool last, uintptr_t stream) {
  if (labels.numel() == 0) return;
  DeviceGuard guard(scores.device);
  const int64_t plane = scores.size(2) * scores.size(3), pixels = scores.size(0) * plane;
  dispatch_floating(scores.dtype, "argmax_labels", [&](auto zero) {
    using scalar_t = decltype(zero);
    dispatch_labels(labels.dtype, last, [&](auto ties, auto label) {
      labels_kernel<decltype(ties)::value><<<blocks_for(pixels), kThreadsPerBlock, 0, as_stream(stream)>>>(
          scores.ptr<const scalar_t>(), labels.ptr<decltype(label)>(), pixels, scores.size(1), plane);
    });
  });
  check_cuda(cudaGetLastError(), "argmax_labels");
}

}  // namespace deeplab::argmax
