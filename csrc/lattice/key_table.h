// The hash table that numbers vertex keys.
#pragma once

#include <cstdint>
#include <limits>
#include <new>
#include <vector>

#include "packing.h"

namespace deeplab::lattice {

// Numbers keys from 0 in the order of their insertion.
template <typename Key>
class KeyTable {
 public:
  explicit KeyTable(int bits) : bits_(bits), slots_(size_t{1} << bits, -1) {}

  int32_t insert(Key key) {
    size_t slot = first_slot(key);
    for (int32_t number; (number = slots_[slot]) >= 0;) {
      if (keys_[number] == key) return number;
      slot = (slot + 1) & (slots_.size() - 1);
    }
    return insert_new(key, slot);
  }

  // -1 if the key is not there.
  int32_t find(Key key) const {
    size_t slot = first_slot(key);
    for (int32_t number; (number = slots_[slot]) >= 0;) {
      if (keys_[number] == key) return number;
      slot = (slot + 1) & (slots_.size() - 1);
    }
    return -1;
  }

  // Prefetches the slot of a key that will be looked up soon.
  void prefetch(Key key) const { __builtin_prefetch(&slots_[first_slot(key)]); }

  const std::vector<Key>& keys() const { return keys_; }
  std::vector<Key> take_keys() { return std::move(keys_); }

 private:
  // Multiplicative hashing: the high bits of the product depend on all bits of the key.
  size_t first_slot(Key key) const {
    uint64_t word = static_cast<uint64_t>(key);
    if constexpr (sizeof(Key) > sizeof(uint64_t)) word ^= static_cast<uint64_t>(key >> 64) * 0xff51afd7ed558ccdULL;
    return (word * 0x9e3779b97f4a7c15ULL) >> (64 - bits_);
  }

  __attribute__((noinline)) int32_t insert_new(Key key, size_t slot) {
    if (keys_.size() >= static_cast<size_t>(std::numeric_limits<int32_t>::max()) - 1) throw std::bad_alloc();
    const int32_t number = static_cast<int32_t>(keys_.size());
    slots_[slot] = number;
    keys_.push_back(key);
    if (keys_.size() * 2 > slots_.size()) grow();
    return number;
  }

  void grow() {
    ++bits_;
    std::vector<int32_t>(size_t{1} << bits_, -1).swap(slots_);
    for (size_t number = 0; number < keys_.size(); ++number) {
      size_t slot = first_slot(keys_[number]);
      while (slots_[slot] >= 0) slot = (slot + 1) & (slots_.size() - 1);
      slots_[slot] = static_cast<int32_t>(number);
    }
  }

  int bits_;
  std::vector<int32_t> slots_;
  std::vector<Key> keys_;
};

}  // namespace deeplab::lattice
