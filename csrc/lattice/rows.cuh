// Four channels of a row: float4 in registers, float or half in memory. No host code: this also compiles at run time
// (NVRTC).
#pragma once

#include <cstdint>

#include "../common/half.h"
#include "../common/loops.cuh"

namespace deeplab::lattice {

__device__ __forceinline__ float4 add(float4 a, float4 b) {
  return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
}
__device__ __forceinline__ float4 scaled(float factor, float4 a) {
  return make_float4(factor * a.x, factor * a.y, factor * a.z, factor * a.w);
}

__device__ __forceinline__ float4 product(float4 a, float4 b) {
  return make_float4(a.x * b.x, a.y * b.y, a.z * b.z, a.w * b.w);
}

struct alignas(8) Half4 {
  Half x, y, z, w;
};

__device__ __forceinline__ float4 load(const float4* source) { return *source; }
__device__ __forceinline__ float4 load(const Half4* source) {
  const Half4 packed = *source;
  return make_float4(widen(packed.x), widen(packed.y), widen(packed.z), widen(packed.w));
}
__device__ __forceinline__ void store(float4* target, float4 value) { *target = value; }
__device__ __forceinline__ void store(Half4* target, float4 value) {
  *target = {narrow<Half>(value.x), narrow<Half>(value.y), narrow<Half>(value.z), narrow<Half>(value.w)};
}

template <int kCorners, typename Storage>
__device__ __forceinline__ float4 slice_corners(const int32_t* vertex, const float* share,
                                                const Storage* __restrict__ values, int64_t vectors, int64_t column) {
  float4 sum = make_float4(0.f, 0.f, 0.f, 0.f);
#pragma unroll
  for (int r = 0; r < kCorners; ++r) sum = add(sum, scaled(share[r], load(values + vertex[r] * vectors + column)));
  return sum;
}

// One point's slice of a blurred lattice, four channels at `column`. Images' kernels have 3 or 6 corners: these loops
// are unrolled, so that a load waits only for its own vertex' number.
template <typename Storage>
__device__ __forceinline__ float4 slice(const int32_t* __restrict__ point_vertex, const float* __restrict__ point_share,
                                        int64_t point, int corners, const Storage* __restrict__ values, int64_t vectors,
                                        int64_t column) {
  const int32_t* vertex = point_vertex + point * corners;
  const float* share = point_share + point * corners;
  if (corners == 6) {
    int32_t vertices[6];
    float shares[6];
#pragma unroll
    for (int pair = 0; pair < 3; ++pair) {
      const int2 two = reinterpret_cast<const int2*>(vertex)[pair];
      const float2 two_shares = reinterpret_cast<const float2*>(share)[pair];
      vertices[2 * pair] = two.x;
      vertices[2 * pair + 1] = two.y;
      shares[2 * pair] = two_shares.x;
      shares[2 * pair + 1] = two_shares.y;
    }
    return slice_corners<6>(vertices, shares, values, vectors, column);
  }
  if (corners == 3) return slice_corners<3>(vertex, share, values, vectors, column);
  float4 sum = make_float4(0.f, 0.f, 0.f, 0.f);
  for (int r = 0; r < corners; ++r) sum = add(sum, scaled(share[r], load(values + vertex[r] * vectors + column)));
  return sum;
}

}  // namespace deeplab::lattice

// For each row in [0, count) and column of a thread of a row_block (filter_cuda.h); the threads of a block may run
// different numbers of iterations.
#define DEEPLAB_ROW_LOOP(row, count)                                                             \
  for (int64_t row = blockIdx.x * static_cast<int64_t>(blockDim.y) + threadIdx.y; row < (count); \
       row += static_cast<int64_t>(gridDim.x) * blockDim.y)
#define DEEPLAB_COLUMN_LOOP(column, vectors) \
  for (int64_t column = threadIdx.x; column < (vectors); column += blockDim.x)
