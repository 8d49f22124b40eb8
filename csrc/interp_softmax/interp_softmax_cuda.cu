#include "../common/launch.cuh"
#include "../interp/sample.cuh"
#include "interp_softmax.h"

namespace deeplab::interp_softmax {
namespace {

using interp::Axis;
using interp::Strides;
using interp::Tap;
using interp::Window;

// Channels whose values a thread keeps in registers, so that each is computed once and written once. Where there are
// more (kHeld = 0), values are computed anew for each of the three passes: the source is small enough for the caches.
constexpr int kMostHeld = 32;

template <int kHeld, typename stored_t>
__global__ void probabilities_kernel(const stored_t* scores, Strides strides, int64_t channels,
                                     compute_t<stored_t>* probabilities, int64_t count, Axis rows, Axis columns,
                                     Window window) {
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

}  // namespace

void probabilities_cuda(const TensorView& scores, const TensorView& probabilities, int64_t height, int64_t width,
                        const Window& window, uintptr_t stream) {
  if (probabilities.numel() == 0) return;
  DeviceGuard guard(scores.device);
  const Axis rows = interp::make_axis(scores.size(2), height), columns = interp::make_axis(scores.size(3), width);
  const int64_t channels = scores.size(1), count = scores.size(0) * window.height * window.width;
  dispatch_stored(scores.dtype, "interp_softmax", [&](auto stored) {
    using stored_t = decltype(stored);
    const auto kernel =
        channels <= kMostHeld ? probabilities_kernel<kMostHeld, stored_t> : probabilities_kernel<0, stored_t>;
    launch("interp_softmax", kernel, blocks_for(count), kThreadsPerBlock, stream, scores.ptr<const stored_t>(),
           interp::strides_of(scores), channels, probabilities.ptr<compute_t<stored_t>>(), count, rows, columns,
           window);
  });
}

}  // namespace deeplab::interp_softmax
