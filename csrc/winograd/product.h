// The matrix product of Winograd's algorithm: rows of transformed pixels by panels of transformed weights.
#pragma once

#include <cstdint>

#include "../common/panels.h"
#include "../common/simd.h"

namespace deeplab::winograd {

// kDepth: the number of channels of the panels in registers that stay in the first-level cache during the loop over the
// rows. kAhead: whether the weights that follow are asked for meanwhile, which pays where products are as fast as the
// third-level cache.
template <int kLanes>
struct Registers : PanelRegisters<kLanes> {
  static constexpr int64_t kDepth = kLanes == 16 ? 256 : 128;
  static constexpr bool kAhead = kLanes == 16;
};

// Rows of a product, A (rows, depth) by panels (depth, kPanel) each.
struct Product {
  const float* a;
  int64_t a_row;
  const float* panels;
  int64_t panel_size;  // from one to the next
  int64_t depth;
  float* c;
  int64_t c_row;
  bool add;                      // to what is in c
  const float* ahead = nullptr;  // a panel's weights that are multiplied soon
};

template <typename L, int kRows, int kPanels>
DEEPLAB_ALWAYS_INLINE void multiply(const Product& product) {
  using Float = typename L::Float;
  using Loose = typename L::LooseFloat;
  constexpr int kVectors = kPanels * static_cast<int>(kPanel) / L::kLanes;
  Float sums[kRows][kVectors];
#pragma GCC unroll 16
  for (int row = 0; row < kRows; ++row) {
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) {
      if (product.add) {
        sums[row][v] = *reinterpret_cast<const Loose*>(product.c + row * product.c_row + v * L::kLanes);
      } else {
        sums[row][v] = Float{};
      }
    }
  }
  for (int64_t k = 0; k < product.depth; ++k) {
    if (Registers<L::kLanes>::kAhead) __builtin_prefetch(product.ahead + k * kPanel, 0, 2);
    Float weights[kVectors];
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) {
      const int64_t at = v * L::kLanes;
      weights[v] =
          *reinterpret_cast<const Loose*>(product.panels + at / kPanel * product.panel_size + k * kPanel + at % kPanel);
    }
#pragma GCC unroll 16
    for (int row = 0; row < kRows; ++row) {
      const float a = product.a[row * product.a_row + k];
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; ++v) sums[row][v] += a * weights[v];
    }
  }
#pragma GCC unroll 16
  for (int row = 0; row < kRows; ++row) {
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) {
      *reinterpret_cast<Loose*>(product.c + row * product.c_row + v * L::kLanes) = sums[row][v];
    }
  }
}

// All remaining rows, at most kRows.
template <typename L, int kRows, int kPanels>
DEEPLAB_ALWAYS_INLINE void multiply_rows(const Product& product, int64_t rows) {
  if (rows >= kRows) return multiply<L, kRows, kPanels>(product);
  if constexpr (kRows > 1) multiply_rows<L, kRows - 1, kPanels>(product, rows);
}

}  // namespace deeplab::winograd
