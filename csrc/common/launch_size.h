// How many blocks a launch has.
#pragma once

#include <algorithm>
#include <cstdint>

#include "loops.cuh"

namespace deeplab {

// Enough blocks for `count` items, bounded: kernels run grid-stride loops, so fewer blocks than items is fine.
inline unsigned int blocks_for(int64_t count) {
  constexpr int64_t kMaxBlocks = 1 << 20;
  return static_cast<unsigned int>(
      std::clamp<int64_t>((count + kThreadsPerBlock - 1) / kThreadsPerBlock, 1, kMaxBlocks));
}

}  // namespace deeplab
