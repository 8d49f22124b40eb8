// What host code needs of a CUDA device besides launches: by the CUDA runtime and CUB, or, if kernels are compiled at
// run time (kernel_launch.h), by CuPy (deeplab_caffe/arrays/nvrtc/runtime.py).
#pragma once

#include <algorithm>
#include <cstdint>

#include "launch_size.h"

namespace deeplab {

// Fills device memory, asynchronously.
void set_bytes(int device, void* data, int value, int64_t bytes, uintptr_t stream);
// Copies device memory to the host, and waits for the stream. Not allowed while a graph is captured.
void read_back(int device, void* host, const void* data, int64_t bytes, uintptr_t stream);
int processors(int device);
// Whether a CUDA graph is being captured from the stream, so that nothing may wait for the device.
bool is_capturing(int device, uintptr_t stream);

// For a stable sort of words by their low bits, each with a number beside it.
struct SortBuffers {
  uint64_t* words[2];
  uint32_t* numbers[2];
};
// Bytes of scratch memory that sort_pairs needs, at least 1.
int64_t sort_bytes(int device, int64_t count);
// Sorts buffers [0] of `buffers`; returns the index of the buffer with the result; the other one is then unspecified.
int sort_pairs(int device, const SortBuffers& buffers, int64_t count, int bits, void* scratch, int64_t scratch_bytes,
               uintptr_t stream);

// The same functions by CuPy, for device_runtime_cuda.cu.
namespace by_cupy {
void set_bytes(int device, void* data, int value, int64_t bytes, uintptr_t stream);
void read_back(int device, void* host, const void* data, int64_t bytes, uintptr_t stream);
int processors(int device);
bool is_capturing(int device, uintptr_t stream);
int sort_pairs(int device, const SortBuffers& buffers, int64_t count, uintptr_t stream);
}  // namespace by_cupy

// Blocks that can run on a device at once. Kernels whose count is known only on the device run grid-stride loops with
// this many blocks, or fewer if the bound of the count needs fewer.
inline unsigned int resident_blocks(int device, int64_t bound, int64_t per_block) {
  constexpr int kBlocksPerProcessor = 2048 / kThreadsPerBlock;
  const int64_t needed = (bound + per_block - 1) / per_block;
  return static_cast<unsigned int>(std::clamp<int64_t>(needed, 1, int64_t{processors(device)} * kBlocksPerProcessor));
}

}  // namespace deeplab
