// The loops over rows of pixels that take most of a depthwise convolution's time.
#pragma once

#include <cstdint>
#include <utility>

#include "../common/simd.h"

namespace deeplab::depthwise {

// Taps that are applied to the pixels together: their weights and sums stay in registers.
constexpr int kMostTaps = 5;
// Number of pixels whose sums stay in the L1 cache.
constexpr int64_t kSpan = 2048;

template <typename scalar_t>
struct Pack;
template <>
struct Pack<float> {
  static constexpr int kLanes = 8;
  using Type __attribute__((vector_size(32))) = float;
  using Loose __attribute__((vector_size(32), aligned(4))) = float;
};
template <>
struct Pack<double> {
  static constexpr int kLanes = 4;
  using Type __attribute__((vector_size(32))) = double;
  using Loose __attribute__((vector_size(32), aligned(8))) = double;
};

// Elements that add_products takes at a time, the same on every processor, so that its sums have a fixed order.
template <typename scalar_t>
constexpr int64_t kStep = 2 * Pack<scalar_t>::kLanes;

// to[i] += weights[t] * from[t][i] for each tap t in turn.
template <typename scalar_t, size_t... kTaps>
DEEPLAB_ALWAYS_INLINE void add_taps(const scalar_t* const* from, const scalar_t* weights, scalar_t* to, int64_t count,
                                    std::index_sequence<kTaps...>) {
  const scalar_t* const rows[] = {from[kTaps]...};
  const scalar_t factors[] = {weights[kTaps]...};
#pragma GCC ivdep
  for (int64_t i = 0; i < count; ++i) {
    scalar_t sum = to[i];
    ((sum += factors[kTaps] * rows[kTaps][i]), ...);
    to[i] = sum;
  }
}

// totals[t] += the sum of grad[i] * from[t][i]; `count` is a multiple of kStep.
template <typename scalar_t, size_t... kTaps>
DEEPLAB_ALWAYS_INLINE void add_products(const scalar_t* const* from, const scalar_t* grad, double* totals,
                                        int64_t count, std::index_sequence<kTaps...>) {
  using Type = typename Pack<scalar_t>::Type;
  using Loose = typename Pack<scalar_t>::Loose;
  constexpr int kLanes = Pack<scalar_t>::kLanes;
  const scalar_t* const rows[] = {from[kTaps]...};
  Type low[sizeof...(kTaps)] = {}, high[sizeof...(kTaps)] = {};
  for (int64_t i = 0; i < count; i += kStep<scalar_t>) {
    const Type first = *reinterpret_cast<const Loose*>(grad + i);
    const Type second = *reinterpret_cast<const Loose*>(grad + i + kLanes);
    ((low[kTaps] += first * *reinterpret_cast<const Loose*>(rows[kTaps] + i)), ...);
    ((high[kTaps] += second * *reinterpret_cast<const Loose*>(rows[kTaps] + i + kLanes)), ...);
  }
  for (size_t t = 0; t < sizeof...(kTaps); ++t) {
    const Type both = low[t] + high[t];
    double total = 0;
    for (int lane = 0; lane < kLanes; ++lane) total += static_cast<double>(both[lane]);
    totals[t] += total;
  }
}

// Calls body(first, numbers) for groups of similar size that cover `taps` taps, with at most kMostTaps each; `numbers`
// is an index_sequence.
template <typename Body>
DEEPLAB_ALWAYS_INLINE void for_groups(int64_t taps, const Body& body) {
  for (int64_t first = 0; first < taps;) {
    const int64_t groups = (taps - first + kMostTaps - 1) / kMostTaps, count = (taps - first + groups - 1) / groups;
    switch (count) {
      case 1:
        body(first, std::make_index_sequence<1>());
        break;
      case 2:
        body(first, std::make_index_sequence<2>());
        break;
      case 3:
        body(first, std::make_index_sequence<3>());
        break;
      case 4:
        body(first, std::make_index_sequence<4>());
        break;
      default:
        body(first, std::make_index_sequence<kMostTaps>());
    }
    first += count;
  }
}

}  // namespace deeplab::depthwise
