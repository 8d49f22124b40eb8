#include <algorithm>
#include <vector>

#include "../common/parallel.h"
#include "argmax.h"

namespace deeplab::argmax {
namespace {

// Pixels per block; their running maxima stay in the L1 cache while all channels pass.
constexpr int64_t kBlock = 1024;

// An index type as wide as the scores, so that one vector mask serves values and indices.
template <typename scalar_t>
using index_t = std::conditional_t<sizeof(scalar_t) == 4, int32_t, int64_t>;

template <bool last, typename scalar_t>
void top1(const scalar_t* scores, int64_t channels, int64_t plane, int64_t count, scalar_t* values,
          index_t<scalar_t>* indices) {
  std::copy(scores, scores + count, values);
  std::fill(indices, indices + count, index_t<scalar_t>(0));
  for (int64_t c = 1; c < channels; ++c) {
    const scalar_t* row = scores + c * plane;
    const auto channel = static_cast<index_t<scalar_t>>(c);
    for (int64_t i = 0; i < count; ++i) {
      const bool taken = takes_lead<last>(row[i], values[i]);
      values[i] = taken ? row[i] : values[i];
      indices[i] = taken ? channel : indices[i];
    }
  }
}

// Calls body(item, offset of the first pixel, count) for blocks of neighbouring pixels.
template <typename Body>
void for_each_block(int64_t items, int64_t plane, const Body& body) {
  const int64_t blocks = (plane + kBlock - 1) / kBlock;
  parallel_for(items * blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t index = begin; index < end; ++index) {
      const int64_t offset = index % blocks * kBlock;
      body(index / blocks, offset, std::min(kBlock, plane - offset));
    }
  });
}

// Writes the first top_k channels of one pixel's ranking to ranked[0..top_k).
template <typename scalar_t>
void rank_channels(const scalar_t* scores, int64_t channels, int64_t plane, int64_t top_k,
                   std::vector<int64_t>& ranked) {
  for (int64_t c = 0; c < channels; ++c) ranked[c] = c;
  std::partial_sort(ranked.begin(), ranked.begin() + top_k, ranked.end(), [&](int64_t a, int64_t b) {
    return a > b ? takes_lead<true>(scores[a * plane], scores[b * plane])
                 : a != b && !takes_lead<true>(scores[b * plane], scores[a * plane]);
  });
}

}  // namespace

void top_cpu(const TensorView& scores, const TensorView& output, int64_t top_k) {
  const int64_t channels = scores.size(1), plane = scores.size(2) * scores.size(3);
  const bool with_values = output.size(1) > top_k;
  dispatch_floating(scores.dtype, "argmax", [&](auto zero) {
    using scalar_t = decltype(zero);
    for_each_block(scores.size(0), plane, [&](int64_t item, int64_t offset, int64_t count) {
      const scalar_t* source = scores.ptr<const scalar_t>() + item * channels * plane + offset;
      scalar_t* target = output.ptr<scalar_t>() + item * output.size(1) * plane + offset;
      if (top_k == 1) {
        scalar_t values[kBlock];
        index_t<scalar_t> indices[kBlock];
        top1<true>(source, channels, plane, count, values, indices);
        std::copy(indices, indices + count, target);
        if (with_values) std::copy(values, values + count, target + plane);
        return;
      }
      std::vector<int64_t> ranked(channels);
      for (int64_t i = 0; i < count; ++i) {
        rank_channels(source + i, channels, plane, top_k, ranked);
        for (int64_t k = 0; k < top_k; ++k) {
          target[k * plane + i] = static_cast<scalar_t>(ranked[k]);
          if (with_values) target[(top_k + k) * plane + i] = source[ranked[k] * plane + i];
        }
      }
    });
  });
}

void labels_cpu(const TensorView& scores, const TensorView& labels, bool last) {
  const int64_t channels = scores.size(1), plane = scores.size(2) * scores.size(3);
  dispatch_floating(scores.dtype, "argmax_labels", [&](auto zero) {
    using scalar_t = decltype(zero);
    dispatch_labels(labels.dtype, last, [&](auto ties, auto label) {
      using label_t = decltype(label);
      for_each_block(scores.size(0), plane, [&](int64_t item, int64_t offset, int64_t count) {
        scalar_t values[kBlock];
        index_t<scalar_t> indices[kBlock];
        top1<decltype(ties)::value>(scores.ptr<const scalar_t>() + item * channels * plane + offset, channels, plane,
                                    count, values, indices);
        label_t* target = labels.ptr<label_t>() + item * plane + offset;
        for (int64_t i = 0; i < count; ++i) target[i] = static_cast<label_t>(indices[i]);
      });
    });
  });
}

}  // namespace deeplab::argmax
