// Launch constants that kernels share with the host. No host code: this also compiles at run time (NVRTC).
#pragma once

namespace deeplab {

constexpr int kThreadsPerBlock = 256;

constexpr unsigned int kWholeWarp = 0xffffffffu;  // all lanes take part in a shuffle or ballot

}  // namespace deeplab

#define DEEPLAB_GRID_STRIDE_LOOP(index, count)                                                       \
  for (int64_t index = blockIdx.x * static_cast<int64_t>(blockDim.x) + threadIdx.x; index < (count); \
       index += static_cast<int64_t>(blockDim.x) * gridDim.x)
