// The one-dimensional transforms of F(m, 3), m outputs of a kernel of three from m + 2 inputs: by the Chinese remainder
// theorem at the points 0, 1, -1 and infinity (m = 2), and 2 and -2 besides (m = 4). A. Lavin and S. Gray, "Fast
// Algorithms for Convolutional Neural Networks", CVPR 2016, sections 4.1 and 4.3. In two dimensions each is applied to
// the rows, then to the columns.
#pragma once

#include "../common/simd.h"

namespace deeplab::winograd {

template <int kOutputs>
struct Rule;

template <>
struct Rule<2> {
  static constexpr int kOut = 2, kIn = 4;

  // G g
  template <typename V>
  static DEEPLAB_ALWAYS_INLINE void weight(const V g[3], V u[kIn]) {
    u[0] = g[0];
    u[1] = (g[0] + g[1] + g[2]) / 2;
    u[2] = (g[0] - g[1] + g[2]) / 2;
    u[3] = g[2];
  }

  // B^T d
  template <typename V>
  static DEEPLAB_ALWAYS_INLINE void input(const V d[kIn], V v[kIn]) {
    v[0] = d[0] - d[2];
    v[1] = d[1] + d[2];
    v[2] = d[2] - d[1];
    v[3] = d[1] - d[3];
  }

  // A^T m
  template <typename V>
  static DEEPLAB_ALWAYS_INLINE void output(const V m[kIn], V y[kOut]) {
    y[0] = m[0] + m[1] + m[2];
    y[1] = m[1] - m[2] - m[3];
  }
};

template <>
struct Rule<4> {
  static constexpr int kOut = 4, kIn = 6;

  template <typename V>
  static DEEPLAB_ALWAYS_INLINE void weight(const V g[3], V u[kIn]) {
    const V even = g[0] + g[2], far = g[0] / 4 + g[2];
    u[0] = g[0] / 4;
    u[1] = -(even + g[1]) / 6;
    u[2] = -(even - g[1]) / 6;
    u[3] = (far + g[1] / 2) / 6;
    u[4] = (far - g[1] / 2) / 6;
    u[5] = g[2];
  }

  template <typename V>
  static DEEPLAB_ALWAYS_INLINE void input(const V d[kIn], V v[kIn]) {
    const V even = d[4] - 4 * d[2], odd = d[3] - 4 * d[1], far_even = d[4] - d[2], far_odd = 2 * (d[3] - d[1]);
    v[0] = 4 * d[0] - 5 * d[2] + d[4];
    v[1] = even + odd;
    v[2] = even - odd;
    v[3] = far_even + far_odd;
    v[4] = far_even - far_odd;
    v[5] = 4 * d[1] - 5 * d[3] + d[5];
  }

  template <typename V>
  static DEEPLAB_ALWAYS_INLINE void output(const V m[kIn], V y[kOut]) {
    const V sum = m[1] + m[2], difference = m[1] - m[2], far_sum = m[3] + m[4], far_difference = m[3] - m[4];
    y[0] = m[0] + sum + far_sum;
    y[1] = difference + 2 * far_difference;
    y[2] = sum + 4 * far_sum;
    y[3] = difference + 8 * far_difference + m[5];
  }
};

}  // namespace deeplab::winograd
