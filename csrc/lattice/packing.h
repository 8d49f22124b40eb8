// Keys of lattice vertices, packed into one machine word. No host code but make_packing: this also compiles at run time
// (NVRTC).
#pragma once

#include <cstdint>

#include "../common/host_device.h"
#include "simplex.h"
#ifndef __CUDACC_RTC__
#include "key_fields.h"
#endif

namespace deeplab::lattice {

#ifdef __CUDACC_RTC__
using uint128_t = unsigned __int128;
#else
__extension__ typedef unsigned __int128 uint128_t;
#endif

// The position of each coordinate in the word of a key. Fields are as wide as the features need, with a margin, so that
// neither a vertex of a simplex nor a neighbour of one can overflow its field: adding to all coordinates at once is
// then one addition of words.
template <typename Key>
struct Packing {
  int32_t low[kMaxDims];    // value of a field of zeros
  int32_t width[kMaxDims];  // bits
  int32_t shift[kMaxDims];  // bits below it
  Key unit[kMaxDims];       // 1 in one coordinate
  Key ones;                 // 1 in every coordinate

  DEEPLAB_HOST_DEVICE Key pack(const int32_t* coordinates, int dims) const {
    Key key = 0;
    for (int i = 0; i < dims; ++i) key += static_cast<Key>(static_cast<uint32_t>(coordinates[i] - low[i])) * unit[i];
    return key;
  }
  DEEPLAB_HOST_DEVICE void unpack(Key key, int dims, int32_t* coordinates) const {
    for (int i = 0; i < dims; ++i) {
      coordinates[i] = static_cast<int32_t>(key & ((Key(1) << width[i]) - 1)) + low[i];
      key >>= width[i];
    }
  }
  // The difference between the key of a vertex and that of its neighbour `before` along an axis, modulo the word. It is
  // also the step from a simplex' vertex r - 1 to its vertex r, where `axis` is the coordinate that wraps.
  DEEPLAB_HOST_DEVICE Key step(int axis, int dims) const {
    return ones - (axis < dims ? unit[axis] * Key(dims + 1) : Key(0));
  }
};

#ifndef __CUDACC_RTC__

template <typename Key>
Packing<Key> make_packing(const KeyFields& fields, int dims) {
  Packing<Key> packing{};
  int shift = 0;
  for (int i = 0; i < dims; ++i) {
    packing.low[i] = fields.low[i];
    packing.width[i] = fields.width[i];
    packing.shift[i] = shift;
    packing.unit[i] = Key(1) << shift;
    packing.ones += packing.unit[i];
    shift += fields.width[i];
  }
  return packing;
}

#endif

}  // namespace deeplab::lattice
