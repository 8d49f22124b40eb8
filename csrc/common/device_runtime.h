// What host code asks of a CUDA device besides launches: by the CUDA runtime and CUB or, where kernels are compiled at
// run time (kernel_launch.h), by CuPy (deeplab_caffe/arrays/nvrtc/runtime.py).
#pragma once

#include <algorithm>
#include <cstdint>

#include "launch_size.h"

namespace deeplab {

// Fills memory of the device, asynchronously.
void set_bytes(int device, void* data, int value, int64_t bytes, uintptr_t stream);
// Copies memory of the device to the host, and waits for the stream. Not while a graph is captured.
void read_back(int device, void* host, const void* data, int64_t bytes, uintptr_t stream);
int processors(int device);
// Whether a CUDA graph is being captured from the stream: then nothing may wait for the device.
bool is_capturing(int device, uintptr_t stream);

// A stable sort by the low bits of words, with a number beside each.
struct SortBuffers {
  uint64_t* words[2];
  uint32_t* numbers[2];
};
// Bytes of scratch memory, at least 1.
int64_t sort_bytes(int device, int64_t count);
// From buffers [0] of `buffers`; returns which of the two holds the result; the other buffer is unspecified.
int sort_pairs(int device, const SortBuffers& buffers, int64_t count, int bits, void* scratch, int64_t scratch_bytes,
               uintptr_t stream);

// The same by CuPy, for device_runtime_cuda.cu.
namespace by_cupy {
void set_bytes(int device, void* data, int value, int64_t bytes, uintptr_t stream);
void read_back(int device, void* host, const void* data, int64_t bytes, uintptr_t stream);
int processors(int device);
bool is_capturing(int device, uintptr_t stream);
int sort_pairs(int device, const SortBuffers& buffers, int64_t count, uintptr_t stream);
}  // namespace by_cupy

// Blocks that a device works on at once. Kernels over a count that only the device knows run grid-stride loops with
// this many, or fewer where even the bound needs fewer.
inline unsigned int resident_blocks(int device, int64_t bound, int64_t per_block) {
  constexpr int kBlocksPerProcessor = 2048 / kThreadsPerBlock;
  const int64_t needed = (bound + per_block - 1) / per_block;
  return static_cast<unsigned int>(std::clamp<int64_t>(needed, 1, int64_t{processors(device)} * kBlocksPerProcessor));
}

}  // namespace deeplab
