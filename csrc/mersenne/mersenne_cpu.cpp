#include <algorithm>

#include "../common/simd.h"
#include "mersenne.h"

namespace deeplab::mersenne {
namespace {

constexpr int64_t kMiddle = 397;

DEEPLAB_ALWAYS_INLINE uint32_t twisted(uint32_t high, uint32_t low, uint32_t other) {
  const uint32_t y = (high & 0x80000000u) | (low & 0x7fffffffu);
  return other ^ (y >> 1) ^ ((0u - (y & 1u)) & 0x9908b0dfu);
}

// Generates all words of the state. No word depends on one less than 227 before it, so each loop can be vectorised.
DEEPLAB_TARGET_CLONES
void twist(uint32_t* key) {
  for (int64_t i = 0; i < kWords - kMiddle; ++i) key[i] = twisted(key[i], key[i + 1], key[i + kMiddle]);
  for (int64_t i = kWords - kMiddle; i < kWords - 1; ++i) {
    key[i] = twisted(key[i], key[i + 1], key[i + kMiddle - kWords]);
  }
  key[kWords - 1] = twisted(key[kWords - 1], key[0], key[kMiddle - 1]);
}

DEEPLAB_TARGET_CLONES
void compare(const uint32_t* key, int64_t count, uint32_t most, uint8_t* out) {
  for (int64_t i = 0; i < count; ++i) {
    uint32_t word = key[i];
    word ^= word >> 11;
    word ^= (word << 7) & 0x9d2c5680u;
    word ^= (word << 15) & 0xefc60000u;
    word ^= word >> 18;
    out[i] = word <= most;
  }
}

}  // namespace

int64_t at_most_cpu(const TensorView& key, int64_t position, uint32_t most, const TensorView& out) {
  uint32_t* words = reinterpret_cast<uint32_t*>(key.ptr<int32_t>());
  uint8_t* drawn = out.ptr<uint8_t>();
  for (int64_t left = out.size(0); left > 0;) {
    if (position == kWords) {
      twist(words);
      position = 0;
    }
    const int64_t count = std::min(left, kWords - position);
    compare(words + position, count, most, drawn);
    position += count;
    drawn += count;
    left -= count;
  }
  return position;
}

}  // namespace deeplab::mersenne
