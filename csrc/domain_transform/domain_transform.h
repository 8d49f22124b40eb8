// Edge-preserving smoothing by the domain transform's recursive filter (Gastal and Oliveira, SIGGRAPH 2011), as DeepLab
// v2's DomainTransform layer does it (layers/domain_transform_layer.cpp).
//
// The rule: iteration k has sigma = spatial_sigma * sqrt(3) * 2^-(k + 1) / sqrt(1 - 4^-K) and a weight for each pixel,
// exp(-sqrt(2) / sigma * (1 + edge * spatial_sigma / range_sigma)), cut to [min_weight, 1]. It goes over each channel
// from left to right, from right to left, downwards and upwards: y += weight * (neighbour - y) with the neighbour's new
// value, where the weight is that of the later pixel of the pair, in reading order. Each pass is a chain of maps
// y -> slope * y + offset, which a GPU composes in a tree.
//
// The gradient of an edge is that of the clipped weight: the derivative of the clipping itself is left out, so that
// gradients do not vanish at min_weight.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "../common/host_device.h"
#include "../common/tensor_view.h"

namespace deeplab::domain_transform {

// The output for an item without an area.
template <typename scalar_t>
constexpr scalar_t kNaN = std::numeric_limits<scalar_t>::quiet_NaN();

// exp(x) within 2e-7 of it, the same bits on the host and on a device; 0 where the result would not be normal. Without
// branches, so that loops over it vectorise.
DEEPLAB_HOST_DEVICE float exponential(float x) {
  constexpr float kLog2E = 1.44269504f, kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f;
  constexpr float kMagic = 12582912.f;  // 1.5 * 2^23: a sum with it is rounded to a whole number, in its low bits
  constexpr float kLeast = -87.f, kMost = 88.f;
  const float bounded = x < kLeast ? kLeast : x > kMost ? kMost : x;
  const float rounded = bounded * kLog2E + kMagic;
  const float power = rounded - kMagic;
  const float r = (bounded - power * kLn2High) - power * kLn2Low;
  float sum = 1.9875691500e-4f;  // Cephes' expf
  sum = sum * r + 1.3981999507e-3f;
  sum = sum * r + 8.3334519073e-3f;
  sum = sum * r + 4.1665795894e-2f;
  sum = sum * r + 1.6666665459e-1f;
  sum = sum * r + 5.0000001201e-1f;
  sum = sum * (r * r) + r + 1.f;
  uint32_t bits;
  memcpy(&bits, &rounded, sizeof bits);
  bits = (bits + 127) << 23;
  float scale;
  memcpy(&scale, &bits, sizeof scale);
  const float result = sum * scale;
  return x < kLeast ? 0.f : x > kMost ? INFINITY : result;
}

DEEPLAB_HOST_DEVICE double exponential(double x) { return std::exp(x); }

// The weights of one iteration.
template <typename scalar_t>
struct Weighting {
  scalar_t factor;       // -sqrt(2) / sigma
  scalar_t ratio;        // spatial_sigma / range_sigma
  scalar_t least, most;  // where weights are cut

  // Written so that a NaN stays one.
  DEEPLAB_HOST_DEVICE scalar_t operator()(scalar_t edge) const {
    const scalar_t weight = exponential(factor * (scalar_t(1) + edge * ratio));
    const scalar_t raised = weight < least ? least : weight;
    return raised > most ? most : raised;
  }
  // The derivative of the logarithm of a weight that is not cut.
  DEEPLAB_HOST_DEVICE scalar_t slope() const { return factor * ratio; }
};

// Rows and columns of one item that are filtered. Its height is -1 where the item's size is none.
struct Area {
  int64_t height, width;
};

// sizes (N, 2): height and width of each item, truncated toward zero; null: all of it.
DEEPLAB_HOST_DEVICE Area area_of(const float* sizes, int64_t item, Area whole) {
  if (!sizes) return whole;
  const float height = sizes[2 * item], width = sizes[2 * item + 1];
  const bool fits = height > -1.f && width > -1.f && height < static_cast<float>(whole.height + 1) &&
                    width < static_cast<float>(whole.width + 1);
  return fits ? Area{static_cast<int64_t>(height), static_cast<int64_t>(width)} : Area{-1, 0};
}

// Arguments of kernels that work on some planes, (planes, H, W).
template <typename scalar_t>
struct Planes {
  int64_t first, count;   // of all N * C planes
  int64_t channels;       // C
  Area whole;             // H, W
  const scalar_t* edges;  // (N, 1, H, W)
  const float* sizes;     // as area_of takes them
  Weighting<scalar_t> weighting;

  DEEPLAB_HOST_DEVICE int64_t item(int64_t plane) const { return (first + plane) / channels; }
  DEEPLAB_HOST_DEVICE int64_t size() const { return whole.height * whole.width; }
};

#ifndef __CUDACC_RTC__

constexpr int64_t kMostIterations = 100;           // sigma halves in each
constexpr int64_t kMostOfSize = int64_t{1} << 23;  // sizes beyond it, and one more, are not exact in float32

struct Settings {
  int64_t iterations;
  double spatial_sigma, range_sigma, min_weight;
  bool clamp;
};

// Numbers are rounded where the original rounds them.
template <typename scalar_t>
Weighting<scalar_t> weighting(const Settings& settings, int64_t iteration) {
  const double shares = std::sqrt(1 - std::ldexp(1., -2 * static_cast<int>(settings.iterations)));
  const double sigma =
      settings.spatial_sigma * std::sqrt(3.) * std::ldexp(1., -static_cast<int>(iteration + 1)) / shares;
  constexpr scalar_t kInfinity = INFINITY;
  return {static_cast<scalar_t>(-std::sqrt(2.) / static_cast<scalar_t>(sigma)),
          static_cast<scalar_t>(settings.spatial_sigma) / static_cast<scalar_t>(settings.range_sigma),
          settings.clamp ? static_cast<scalar_t>(settings.min_weight) : -kInfinity,
          settings.clamp ? scalar_t(1) : kInfinity};
}

// All contiguous, on one device.
struct Problem {
  TensorView x;        // (N, C, H, W)
  TensorView edges;    // (N, 1, H, W), of its dtype
  const float* sizes;  // (N, 2), or null
  Settings settings;

  int64_t items() const { return x.size(0); }
  int64_t channels() const { return x.size(1); }
  Area whole() const { return {x.size(2), x.size(3)}; }
  int64_t plane() const { return x.size(2) * x.size(3); }
};

// Number of values of the dtype that a GPU needs as scratch memory; a CPU needs none.
int64_t backward_scratch(const Problem& problem);

// Writes output (N, C, H, W): x itself outside of an item's area, NaN for an item without one.
void forward_cpu(const Problem& problem, const TensorView& output);
void forward_cuda(const Problem& problem, const TensorView& output, uintptr_t stream);
// The gradients of x and edges from that of the output; the forward pass is done again, some planes at a time.
void backward_cpu(const Problem& problem, const TensorView& grad, const TensorView& grad_x,
                  const TensorView& grad_edges, const TensorView& scratch);
void backward_cuda(const Problem& problem, const TensorView& grad, const TensorView& grad_x,
                   const TensorView& grad_edges, const TensorView& scratch, uintptr_t stream);

#endif

}  // namespace deeplab::domain_transform
