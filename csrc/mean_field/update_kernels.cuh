// The kernels of a mean field step after the filters: scores, the slices of all kernels and the softmax in one pass. No
// host code: this also compiles at run time (NVRTC).
#pragma once

#include <cfloat>
#include <cmath>
#include <type_traits>

#include "../lattice/rows.cuh"
#include "fast_exp.h"
#include "update_job.h"

namespace deeplab::mean_field {

template <typename Storage>
__device__ __forceinline__ float4 message_of(const SliceJob& slice, int64_t point, int64_t vectors, int64_t column) {
  float4 message = lattice::slice(slice.point_vertex, slice.point_share, point, slice.corners,
                                  static_cast<const Storage*>(slice.values), vectors, column);
  if (sizeof(Storage) < sizeof(float4)) message = lattice::scaled(slice.unscale, message);
  return lattice::scaled(slice.after ? slice.weight * slice.after[point] : slice.weight, message);
}

template <typename Storage>
__device__ __forceinline__ float4 with_messages(const UpdateJob& job, int64_t point, int64_t vectors, int64_t column) {
  float4 next = reinterpret_cast<const float4*>(job.start)[point * vectors + column];
  for (int k = 0; k < job.slices; ++k) {
    next = lattice::add(next, message_of<Storage>(job.slice[k], point, vectors, column));
  }
  return next;
}

__device__ __forceinline__ float largest_of(float4 a) { return fmaxf(fmaxf(a.x, a.y), fmaxf(a.z, a.w)); }
__device__ __forceinline__ float4 exp_of(float4 a, float largest) {
  return make_float4(fast_exp(a.x - largest), fast_exp(a.y - largest), fast_exp(a.z - largest),
                     fast_exp(a.w - largest));
}
// In the order of the channels, as the original sums.
__device__ __forceinline__ float plus_all(float sum, float4 a) { return sum + a.x + a.y + a.z + a.w; }
__device__ __forceinline__ float4 divided(float4 a, float by) {
  return make_float4(a.x / by, a.y / by, a.z / by, a.w / by);
}

// A warp works on as many pixels as fit: `lanes` lanes for each pixel, kVectors neighbouring columns for each lane.
template <typename Storage, typename vectors_t>
__global__ void update_kernel(const __grid_constant__ Updates updates, int64_t vectors, int32_t lanes,
                              int32_t softmax) {
  constexpr int kVectors = vectors_t::value;
  const UpdateJob& job = updates.job[blockIdx.y];
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int pixels = 32 / lanes, pixel = lane / lanes, member = lane % lanes, first = pixel * lanes;
  const int64_t warp = (blockIdx.x * int64_t{blockDim.x} + threadIdx.x) / 32;
  const int64_t warps = int64_t{gridDim.x} * blockDim.x / 32;
  float4* q = reinterpret_cast<float4*>(job.q);
  // All lanes stay in the loop, because the shuffles need them.
  for (int64_t base = warp * pixels; base < job.points; base += warps * pixels) {
    const int64_t point = base + pixel;
    float4 next[kVectors];
    bool mine[kVectors];
    float largest = -INFINITY;
#pragma unroll
    for (int v = 0; v < kVectors; ++v) {
      const int64_t column = member * kVectors + v;
      mine[v] = pixel < pixels && point < job.points && column < vectors;
      next[v] = mine[v] ? with_messages<Storage>(job, point, vectors, column)
                        : make_float4(-INFINITY, -INFINITY, -INFINITY, -INFINITY);
      largest = fmaxf(largest, largest_of(next[v]));
    }
    if (softmax) {
      float of_all = largest;
      for (int l = 0; l < lanes; ++l) of_all = fmaxf(of_all, __shfl_sync(kWholeWarp, largest, first + l));
#pragma unroll
      for (int v = 0; v < kVectors; ++v) next[v] = exp_of(next[v], of_all);
      float sum = 0.f;
      for (int l = 0; l < lanes; ++l) {
        float with_mine = sum;
#pragma unroll
        for (int v = 0; v < kVectors; ++v) with_mine = plus_all(with_mine, next[v]);
        sum = __shfl_sync(kWholeWarp, with_mine, first + l);
      }
#pragma unroll
      for (int v = 0; v < kVectors; ++v) next[v] = divided(next[v], sum);
    }
#pragma unroll
    for (int v = 0; v < kVectors; ++v) {
      if (mine[v]) q[point * vectors + member * kVectors + v] = next[v];
    }
  }
}

// For rows that do not fit into a warp's registers: a warp for each pixel, with intermediate results in the row of Q.
// Each lane reads only what it wrote.
template <typename Storage>
__global__ void update_wide_kernel(const __grid_constant__ Updates updates, int64_t vectors, int32_t softmax) {
  const UpdateJob& job = updates.job[blockIdx.y];
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int64_t warp = (blockIdx.x * int64_t{blockDim.x} + threadIdx.x) / 32;
  const int64_t warps = int64_t{gridDim.x} * blockDim.x / 32;
  for (int64_t point = warp; point < job.points; point += warps) {
    float4* q = reinterpret_cast<float4*>(job.q) + point * vectors;
    float largest = -INFINITY;
    for (int64_t column = lane; column < vectors; column += 32) {
      q[column] = with_messages<Storage>(job, point, vectors, column);
      largest = fmaxf(largest, largest_of(q[column]));
    }
    if (!softmax) continue;
    for (int reach = 16; reach > 0; reach /= 2) {
      largest = fmaxf(largest, __shfl_xor_sync(kWholeWarp, largest, reach));
    }
    float sum = 0.f;
    for (int64_t first = 0; first < vectors; first += 32) {
      const int64_t column = first + lane;
      float4 power = make_float4(0.f, 0.f, 0.f, 0.f);
      if (column < vectors) q[column] = power = exp_of(q[column], largest);
      for (int l = 0; l < 32; ++l) sum = __shfl_sync(kWholeWarp, plus_all(sum, power), l);
    }
    for (int64_t column = lane; column < vectors; column += 32) q[column] = divided(q[column], sum);
  }
}

// One thread per pixel and four channels, pixels fastest: reads of planes are coalesced. `padding` is written after the
// last channel.
__global__ void rows_kernel(Planes source, int32_t logarithm, float padding, float4* rows, int32_t points,
                            int64_t channels, int64_t vectors) {
  DEEPLAB_GRID_STRIDE_LOOP(index, points * vectors) {
    const int64_t column = index / points;
    const int32_t point = static_cast<int32_t>(index - column * points);
    const float* own = source.data + source.offset(point);
    float lanes[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int64_t channel = column * 4 + i;
      lanes[i] = padding;
      if (channel < channels) {
        const float value = own[channel * source.stride_c];
        lanes[i] = logarithm ? logf(value) : value;
      }
    }
    rows[point * vectors + column] = make_float4(lanes[0], lanes[1], lanes[2], lanes[3]);
  }
}

__global__ void marginals_kernel(const float4* rows, Planes out, int32_t logarithm, int32_t points, int64_t channels,
                                 int64_t vectors) {
  DEEPLAB_GRID_STRIDE_LOOP(index, points * vectors) {
    const int64_t column = index / points;
    const int32_t point = static_cast<int32_t>(index - column * points);
    const float4 row = rows[point * vectors + column];
    const float lanes[4] = {row.x, row.y, row.z, row.w};
    float* target = out.data + out.offset(point);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int64_t channel = column * 4 + i;
      // Not fmaxf, which would turn a NaN into FLT_MIN.
      const float floored = lanes[i] < FLT_MIN ? FLT_MIN : lanes[i];
      if (channel < channels) target[channel * out.stride_c] = logarithm ? logf(floored) : lanes[i];
    }
  }
}

__global__ void inspect_kernel(Planes scores, int32_t probabilities, int32_t points, int64_t channels, int32_t finite,
                               int32_t negative, int32_t all_zero, int32_t* faults) {
  DEEPLAB_GRID_STRIDE_LOOP(index, points) {
    const float* source = scores.data + scores.offset(static_cast<int32_t>(index));
    int32_t found = all_zero;
    for (int64_t c = 0; c < channels; ++c) {
      const float value = source[c * scores.stride_c];
      if (!isfinite(value)) found |= finite;
      if (value < 0.f) found |= negative;
      if (value != 0.f) found &= ~all_zero;
    }
    if (!probabilities) found &= finite;
    if (found) atomicOr(faults, found);
  }
}

// Sum over a block's threads, the same in every run, for a block of kThreadsPerBlock. Only thread 0 has the result.
__device__ __forceinline__ double block_sum(double own, double* sums) {
  const int thread = static_cast<int>(threadIdx.x);
  __syncthreads();
  sums[thread] = own;
  for (int half = kThreadsPerBlock / 2; half > 0; half /= 2) {
    __syncthreads();
    if (thread < half) sums[thread] += sums[thread + half];
  }
  return sums[0];
}

// Parts of the free energy, one number of each kind from each block: entropy[block] is a sum of Q log Q, unary[block]
// of -score * Q.
__global__ void energy_kernel(const float* scores, const float* q, int64_t points, int64_t channels, int64_t width,
                              double* entropy, double* unary) {
  __shared__ double sums[kThreadsPerBlock];
  double own_entropy = 0, own_unary = 0;
  DEEPLAB_GRID_STRIDE_LOOP(point, points) {
    for (int64_t i = point * width; i < point * width + channels; ++i) {
      const double power = q[i];
      own_entropy += power * log(power > 1e-20 ? power : 1e-20);
      if (power > 0) own_unary -= scores[i] * power;
    }
  }
  own_entropy = block_sum(own_entropy, sums);
  own_unary = block_sum(own_unary, sums);
  if (threadIdx.x == 0) {
    entropy[blockIdx.x] = own_entropy;
    unary[blockIdx.x] = own_unary;
  }
}

// The energy of one kernel: energy[block] is a sum of -message * Q.
template <typename Storage>
__global__ void pairwise_energy_kernel(SliceJob job, const float4* q, int64_t points, int64_t vectors, double* energy) {
  __shared__ double sums[kThreadsPerBlock];
  double own = 0;
  DEEPLAB_GRID_STRIDE_LOOP(point, points) {
    for (int64_t column = 0; column < vectors; ++column) {
      const float4 message = message_of<Storage>(job, point, vectors, column);
      const float4 power = q[point * vectors + column];
      // The padding after the last channel adds nothing: it is 0 there.
      own -= double{message.x} * power.x + double{message.y} * power.y + double{message.z} * power.z +
             double{message.w} * power.w;
    }
  }
  own = block_sum(own, sums);
  if (threadIdx.x == 0) energy[blockIdx.x] = own;
}

}  // namespace deeplab::mean_field
