// Vertex keys, packed into one machine word, and the hash table that numbers them.
#pragma once

#include <cstdint>
#include <limits>
#include <new>
#include <vector>

#include "../common/simd.h"
#include "lattice.h"

namespace deeplab::lattice {

__extension__ typedef unsigned __int128 uint128_t;

// Where each of a key's coordinates sits in the word. Fields are as wide as the features need, with a margin, so that
// neither a vertex of a simplex nor a neighbour of one can leave its field: adding to all coordinates at once is then
// one addition of words.
template <typename Key>
struct Packing {
  int32_t low[kMaxDims];  // value of a field of zeros
  int width[kMaxDims];    // bits
  int shift[kMaxDims];    // bits below it
  Key unit[kMaxDims];     // 1 in one coordinate
  Key ones = 0;           // 1 in every coordinate

  Key pack(const int32_t* coordinates, int dims) const {
    Key key = 0;
    for (int i = 0; i < dims; ++i) key += static_cast<Key>(static_cast<uint32_t>(coordinates[i] - low[i])) * unit[i];
    return key;
  }
  void unpack(Key key, int dims, int32_t* coordinates) const {
    for (int i = 0; i < dims; ++i) {
      coordinates[i] = static_cast<int32_t>((key & ((Key(1) << width[i]) - 1))) + low[i];
      key >>= width[i];
    }
  }
  // From a simplex' vertex r - 1 to its vertex r, where `axis` is the coordinate that wraps.
  Key next(Key key, int axis, int dims) const {
    return key + ones - (axis < dims ? unit[axis] * Key(dims + 1) : Key(0));
  }
  // From a vertex to its neighbour `before` along an axis.
  Key before(Key key, int axis, int dims) const {
    return key - ones + (axis < dims ? unit[axis] * Key(dims + 1) : Key(0));
  }
};

// Numbers keys from 0 in the order of their insertion.
template <typename Key>
class KeyTable {
 public:
  explicit KeyTable(int bits) : bits_(bits), slots_(size_t{1} << bits) {}

  int32_t insert(Key key) {
    size_t slot = first_slot(key);
    while (slots_[slot].number >= 0) {
      if (slots_[slot].key == key) return slots_[slot].number;
      slot = (slot + 1) & (slots_.size() - 1);
    }
    return insert_new(key, slot);
  }

  // -1 if the key is not there.
  int32_t find(Key key) const {
    size_t slot = first_slot(key);
    while (slots_[slot].number >= 0) {
      if (slots_[slot].key == key) return slots_[slot].number;
      slot = (slot + 1) & (slots_.size() - 1);
    }
    return -1;
  }

  // For a key that is about to be looked for.
  void prefetch(Key key) const { __builtin_prefetch(&slots_[first_slot(key)]); }

  const std::vector<Key>& keys() const { return keys_; }
  std::vector<Key> take_keys() { return std::move(keys_); }

 private:
  struct Slot {
    Key key = 0;
    int32_t number = -1;
  };

  // Multiplicative hashing: the high bits of the product depend on all bits of the key.
  size_t first_slot(Key key) const {
    uint64_t word = static_cast<uint64_t>(key);
    if constexpr (sizeof(Key) > sizeof(uint64_t)) word ^= static_cast<uint64_t>(key >> 64) * 0xff51afd7ed558ccdULL;
    return (word * 0x9e3779b97f4a7c15ULL) >> (64 - bits_);
  }

  __attribute__((noinline)) int32_t insert_new(Key key, size_t slot) {
    if (keys_.size() >= static_cast<size_t>(std::numeric_limits<int32_t>::max()) - 1) throw std::bad_alloc();
    const int32_t number = static_cast<int32_t>(keys_.size());
    slots_[slot] = {key, number};
    keys_.push_back(key);
    if (keys_.size() * 2 > slots_.size()) grow();
    return number;
  }

  void grow() {
    ++bits_;
    std::vector<Slot>(size_t{1} << bits_).swap(slots_);
    for (size_t number = 0; number < keys_.size(); ++number) {
      size_t slot = first_slot(keys_[number]);
      while (slots_[slot].number >= 0) slot = (slot + 1) & (slots_.size() - 1);
      slots_[slot] = {keys_[number], static_cast<int32_t>(number)};
    }
  }

  int bits_;
  std::vector<Slot> slots_;
  std::vector<Key> keys_;
};

}  // namespace deeplab::lattice
