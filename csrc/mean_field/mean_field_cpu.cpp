#include <algorithm>
#include <cmath>
#include <limits>

#include "../common/parallel.h"
#include "mean_field.h"

namespace deeplab::mean_field {
namespace {

using lattice::Lattice;

constexpr int64_t kPointGrain = 512;

// row = softmax(row), in place, for kRows rows of kWidth floats (0: known at run time only). The sum runs over the
// labels in order, as the original's does: a chain of additions, of which several rows at a time keep the processor
// busy.
template <int kWidth, int kRows>
DEEPLAB_ALWAYS_INLINE void normalise_exp(float* rows, int64_t channels, int64_t runtime_width) {
  const int64_t width = kWidth ? kWidth : runtime_width;
  for (int r = 0; r < kRows; ++r) {
    float* row = rows + r * width;
    Float4 lanes = *reinterpret_cast<const Float4*>(row);
    for (int64_t c = 4; c < width; c += 4) {
      const Float4 other = *reinterpret_cast<const Float4*>(row + c);
      lanes = other > lanes ? other : lanes;
    }
    const float largest = std::max(std::max(lanes[0], lanes[1]), std::max(lanes[2], lanes[3]));
    for (int64_t c = 0; c < width; ++c) row[c] -= largest;
  }
  for (int64_t i = 0; i < kRows * width; ++i) rows[i] = fast_exp(rows[i]);
  float sum[kRows] = {};
  for (int64_t c = 0; c < channels; ++c) {
    for (int r = 0; r < kRows; ++r) sum[r] += rows[r * width + c];
  }
  for (int r = 0; r < kRows; ++r) {
    for (int64_t c = 0; c < width; ++c) rows[r * width + c] /= sum[r];
  }
}

template <int kWidth>
DEEPLAB_ALWAYS_INLINE void normalise_exp_range(float* rows, int64_t channels, int64_t width, int64_t begin,
                                               int64_t end) {
  constexpr int kRows = 8;
  int64_t point = begin;
  for (; point + kRows <= end; point += kRows) normalise_exp<kWidth, kRows>(rows + point * width, channels, width);
  for (; point < end; ++point) normalise_exp<kWidth, 1>(rows + point * width, channels, width);
}

DEEPLAB_TARGET_CLONES
void normalise_exp_range(float* rows, int64_t channels, int64_t width, int64_t begin, int64_t end) {
  switch (width) {
    case 4:
      return normalise_exp_range<4>(rows, channels, width, begin, end);
    case 8:
      return normalise_exp_range<8>(rows, channels, width, begin, end);
    case 16:
      return normalise_exp_range<16>(rows, channels, width, begin, end);
    case 24:
      return normalise_exp_range<24>(rows, channels, width, begin, end);
    default:
      return normalise_exp_range<0>(rows, channels, width, begin, end);
  }
}

struct Slice {
  const Lattice* lattice;
  const float* blurred;  // (vertices + 1, width)
  const float* factor;   // (points)
};

// Q before the normalised exp: the scores and the slices of all kernels in one pass over the pixels.
DEEPLAB_TARGET_CLONES
void update_range(const std::vector<Slice>& slices, const float* scores, int64_t width, float* q, int64_t begin,
                  int64_t end) {
  lattice::for_each_piece(width, [&](auto piece, int64_t column) DEEPLAB_INLINE_LAMBDA {
    using Vector = typename decltype(piece)::Vector;
    constexpr int kVectors = decltype(piece)::kVectors;
    for (int64_t point = begin; point < end; ++point) {
      const Vector* score = reinterpret_cast<const Vector*>(scores + point * width + column);
      Vector next[kVectors];
      for (int k = 0; k < kVectors; ++k) next[k] = score[k];
      for (const Slice& slice : slices) {
        Vector message[kVectors];
        lattice::slice_point(*slice.lattice, slice.blurred, width, column, point, message);
        for (int k = 0; k < kVectors; ++k) next[k] += slice.factor[point] * message[k];
      }
      Vector* target = reinterpret_cast<Vector*>(q + point * width + column);
      for (int k = 0; k < kVectors; ++k) target[k] = next[k];
    }
  });
}

// weight / (filter(1) + 1e-20) per point
AlignedBuffer<float> message_factor(const Lattice& lattice, float weight) {
  AlignedBuffer<float> factor(lattice.points);
  std::fill_n(factor.data(), lattice.points, 1.f);
  lattice::VertexValues values(lattice, 1);
  values.splat(factor.data());
  values.blur();
  parallel_for(lattice.points, kPointGrain, [&](int64_t begin, int64_t end) {
    for (int64_t point = begin; point < end; ++point) {
      float sum[1];
      lattice::slice_point(lattice, values.data(), 1, 0, point, sum);
      const float norm = 1.f / (sum[0] + 1e-20f);
      factor[point] = weight * norm;
    }
  });
  return factor;
}

}  // namespace

MeanField::MeanField(const TensorView& scores, std::vector<Kernel> kernels, bool probabilities)
    : channels_(scores.size(0)),
      points_(scores.size(1)),
      // One channel needs no vectors, but rows of one float would be worked off without any.
      width_(lattice::padded_width(std::max<int64_t>(channels_, 2))),
      scores_(points_ * width_),
      q_(points_ * width_) {
  messages_.reserve(kernels.size());
  for (Kernel& kernel : kernels) {
    messages_.push_back({kernel.lattice, lattice::VertexValues(*kernel.lattice, width_),
                         message_factor(*kernel.lattice, kernel.weight)});
  }
  parallel_for(points_, kPointGrain, [&](int64_t begin, int64_t end) {
    for (int64_t point = begin; point < end; ++point) {
      float* row = scores_.data() + point * width_;
      // Lanes without a label behave as one that is impossible everywhere.
      std::fill_n(row, width_, -std::numeric_limits<float>::infinity());
      const float* source = scores.ptr<const float>() + point * scores.stride(1);
      for (int64_t c = 0; c < channels_; ++c) {
        const float value = source[c * scores.stride(0)];
        row[c] = probabilities ? std::log(value) : value;
      }
    }
    std::copy(scores_.data() + begin * width_, scores_.data() + end * width_, q_.data() + begin * width_);
    normalise_exp_range(q_.data(), channels_, width_, begin, end);
  });
}

void MeanField::step() {
  std::vector<Slice> slices;
  slices.reserve(messages_.size());
  for (Message& message : messages_) {
    message.values.splat(q_.data());
    message.values.blur();
    slices.push_back({message.lattice.get(), message.values.data(), message.factor.data()});
  }
  parallel_for(points_, kPointGrain, [&](int64_t begin, int64_t end) {
    update_range(slices, scores_.data(), width_, q_.data(), begin, end);
    normalise_exp_range(q_.data(), channels_, width_, begin, end);
  });
  ++iterations_;
}

void MeanField::run(int64_t iterations) {
  for (int64_t i = 0; i < iterations; ++i) step();
}

void MeanField::marginals(const TensorView& out, bool logarithm) const {
  float* target = out.ptr<float>();
  parallel_for(points_, kPointGrain, [&](int64_t begin, int64_t end) {
    for (int64_t c = 0; c < channels_; ++c) {
      for (int64_t point = begin; point < end; ++point) {
        const float value = q_[point * width_ + c];
        target[c * points_ + point] = logarithm ? std::log(std::max(value, std::numeric_limits<float>::min())) : value;
      }
    }
  });
}

int64_t MeanField::bytes(int64_t points, int64_t channels, int64_t kernels) {
  return 4 * points * (2 * lattice::padded_width(std::max<int64_t>(channels, 2)) + kernels);
}

}  // namespace deeplab::mean_field
