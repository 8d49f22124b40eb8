// CUDA kernels on the host, for tests: the threads of a block are coroutines that meet at real barriers, blocks come
// one after the other. Threads and blocks run in a shuffled order, so that results which depend on it differ between
// seeds. Divergence at a barrier and shuffles in a partial warp end the process. What this cannot show: races between
// threads that both orders hide, alignment, and anything about speed.
#pragma once
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <numeric>
#include <random>
#include <tuple>
#include <vector>
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __shared__ static
#define __grid_constant__
#define __launch_bounds__(...)
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(8) int2 {
  int x, y;
};
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
typedef struct HostStream* cudaStream_t;
enum cudaError_t { cudaSuccess, cudaErrorStreamCaptureUnsupported };
enum { cudaDevAttrMultiProcessorCount, cudaMemcpyDeviceToHost };
enum cudaStreamCaptureStatus { cudaStreamCaptureStatusNone, cudaStreamCaptureStatusActive };
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes;
  cudaStream_t stream;
};
namespace on_host {
bool is_capturing();
// Does it, or keeps it for the graph that is being captured.
void enqueue(std::function<void()> work);
}  // namespace on_host
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline const char* cudaGetErrorString(cudaError_t) { return "not while a graph is captured"; }
inline cudaError_t cudaGetDevice(int* d) {
  *d = 0;
  return cudaSuccess;
}
inline cudaError_t cudaSetDevice(int) { return cudaSuccess; }
inline cudaError_t cudaDeviceGetAttribute(int* v, int, int) {
  *v = 1;
  return cudaSuccess;
}
inline cudaError_t cudaMemsetAsync(void* p, int v, size_t n, cudaStream_t) {
  on_host::enqueue([=] { memset(p, v, n); });
  return cudaSuccess;
}
inline cudaError_t cudaMemcpyAsync(void* d, const void* s, size_t n, int, cudaStream_t) {
  if (on_host::is_capturing()) return cudaErrorStreamCaptureUnsupported;
  memcpy(d, s, n);
  return cudaSuccess;
}
inline cudaError_t cudaStreamSynchronize(cudaStream_t) {
  return on_host::is_capturing() ? cudaErrorStreamCaptureUnsupported : cudaSuccess;
}
inline cudaError_t cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus* s) {
  *s = on_host::is_capturing() ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  return cudaSuccess;
}

namespace on_host {
enum class Wait { kNone, kWarp, kBlock, kDone };
struct Thread {
  ucontext_t context;
  dim3 index;
  int linear;
  Wait wait;
};
struct State {
  ucontext_t scheduler;
  std::vector<Thread> threads;
  std::vector<std::unique_ptr<char[]>> stacks;
  Thread* current = nullptr;
  dim3 block, grid_dim, block_dim;
  std::function<void()> body;
  uint64_t slots[1024];
  int predicate[1024];
  std::mt19937 order{1};
};
extern State state;
[[noreturn]] inline void die(const char* what) {
  fprintf(stderr, "cuda_on_host: %s\n", what);
  abort();
}
inline void wait(Wait kind) {
  Thread* self = state.current;
  self->wait = kind;
  swapcontext(&self->context, &state.scheduler);
}
void run(dim3 grid, dim3 block, std::function<void()> body);
}  // namespace on_host
#define threadIdx (on_host::state.current->index)
#define blockIdx (on_host::state.block)
static dim3& blockDim = on_host::state.block_dim;
static dim3& gridDim = on_host::state.grid_dim;
inline void __syncthreads() { on_host::wait(on_host::Wait::kBlock); }
inline int __syncthreads_count(int p) {
  on_host::state.predicate[on_host::state.current->linear] = p != 0;
  __syncthreads();
  int n = 0;
  for (unsigned i = 0; i < blockDim.x * blockDim.y; ++i) n += on_host::state.predicate[i];
  __syncthreads();
  return n;
}
template <typename T>
T exchange_in_warp(T v, int source_lane) {
  const int self = on_host::state.current->linear, warp = self / 32 * 32;
  memcpy(&on_host::state.slots[self], &v, sizeof v);
  on_host::wait(on_host::Wait::kWarp);
  T r;
  memcpy(&r, &on_host::state.slots[warp + (source_lane & 31)], sizeof r);
  on_host::wait(on_host::Wait::kWarp);
  return r;
}
template <typename T>
T __shfl_sync(unsigned, T v, int lane) {
  return exchange_in_warp(v, lane);
}
template <typename T>
T __shfl_xor_sync(unsigned, T v, int m) {
  return exchange_in_warp(v, (on_host::state.current->linear % 32) ^ m);
}
inline unsigned __ballot_sync(unsigned, int p) {
  const int self = on_host::state.current->linear, warp = self / 32 * 32;
  uint64_t v = p != 0;
  on_host::state.slots[self] = v;
  on_host::wait(on_host::Wait::kWarp);
  unsigned r = 0;
  for (int l = 0; l < 32; ++l) r |= unsigned(on_host::state.slots[warp + l]) << l;
  on_host::wait(on_host::Wait::kWarp);
  return r;
}
inline int __popc(unsigned v) { return __builtin_popcount(v); }
inline int atomicAdd(int* p, int v) {
  int o = *p;
  *p += v;
  return o;
}
inline int atomicOr(int* p, int v) {
  int o = *p;
  *p |= v;
  return o;
}
inline int atomicMin(int* p, int v) {
  int o = *p;
  *p = std::min(o, v);
  return o;
}
inline int atomicMax(int* p, int v) {
  int o = *p;
  *p = std::max(o, v);
  return o;
}
inline int __float_as_int(float f) {
  int i;
  memcpy(&i, &f, 4);
  return i;
}
using std::isfinite;
template <typename... P, typename... A>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* c, void (*kernel)(P...), A&&... a) {
  std::tuple<std::decay_t<P>...> arguments(static_cast<P>(a)...);
  const dim3 grid = c->gridDim, block = c->blockDim;
  on_host::enqueue([=] { on_host::run(grid, block, [=] { std::apply(kernel, arguments); }); });
  return cudaSuccess;
}
