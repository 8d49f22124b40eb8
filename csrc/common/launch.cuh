// Launching without the <<< >>> syntax, so that the kernels also compile as plain C++ for tests on a host.
#pragma once

#include "cuda_utils.cuh"

namespace deeplab {

template <typename... Parameters, typename... Arguments>
void launch(const char* what, void (*kernel)(Parameters...), dim3 grid, dim3 block, uintptr_t stream,
            const Arguments&... arguments) {
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.stream = as_stream(stream);
  check_cuda(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...), what);
}

// Blocks that a device works on at once. Kernels over a count that only the device knows run grid-stride loops with
// this many, or fewer where even the bound needs fewer.
inline unsigned int resident_blocks(int device, int64_t bound, int64_t per_block) {
  constexpr int kBlocksPerProcessor = 2048 / kThreadsPerBlock;
  int processors = 0;
  check_cuda(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device), "cudaDeviceGetAttribute");
  const int64_t needed = (bound + per_block - 1) / per_block;
  return static_cast<unsigned int>(std::clamp<int64_t>(needed, 1, int64_t{processors} * kBlocksPerProcessor));
}

}  // namespace deeplab
