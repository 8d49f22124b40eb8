// Bernoulli draws from a Mersenne Twister (Matsumoto and Nishimura, 1998: MT19937): one word each, true if the word is
// small enough. numpy gives the same words one by one; a dropout mask needs millions.
#pragma once

#include <cstdint>

#include "../common/tensor_view.h"

namespace deeplab::mersenne {

constexpr int64_t kWords = 624;

// key (624) uint32 as int32, the generator's state, overwritten; position: of its next word in key, up to 624; out
// (count) bytes, 1 where a word is at most `most`. Returns the new position.
int64_t at_most_cpu(const TensorView& key, int64_t position, uint32_t most, const TensorView& out);

}  // namespace deeplab::mersenne
