// Keys of lattice vertices on a GPU, and how a lattice's building is launched. No host code: this also compiles at run
// time (NVRTC).
#pragma once

#include <cstdint>

#include "device_lattice.h"

namespace deeplab::lattice {

#ifdef __CUDACC_RTC__
using uint128_t = unsigned __int128;
#else
__extension__ typedef unsigned __int128 uint128_t;
#endif

constexpr int kScanThreads = 1024;
constexpr int kScanItems = 2048;  // entries that a block numbers

struct Scale {
  float factor[kMaxDims];
};

// As Packing in key_table.h.
template <typename Key>
struct DevicePacking {
  int32_t low[kMaxDims];
  Key unit[kMaxDims];
  Key ones;

  DEEPLAB_HOST_DEVICE Key pack(const int32_t* coordinates, int dims) const {
    Key key = 0;
    for (int i = 0; i < dims; ++i) key += static_cast<Key>(static_cast<uint32_t>(coordinates[i] - low[i])) * unit[i];
    return key;
  }
  // What a vertex' key is larger by than that of its neighbour `before` along an axis, modulo the word.
  DEEPLAB_HOST_DEVICE Key step(int axis, int dims) const {
    return ones - (axis < dims ? unit[axis] * Key(dims + 1) : Key(0));
  }
};

}  // namespace deeplab::lattice
