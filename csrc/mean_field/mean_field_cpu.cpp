#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "../common/parallel.h"
#include "../lattice/narrow.h"
#include "../lattice/norm.h"
#include "mean_field.h"
#include "planes.h"
#include "softmax.h"

namespace deeplab::mean_field {
namespace {

using lattice::Lattice;

constexpr int64_t kPointGrain = 512;
constexpr int64_t kVertexGrain = 1024;
constexpr int64_t kAhead = 16;  // points whose vertices are fetched before they are sliced

struct Slice {
  const Lattice* lattice;
  const float* blurred;  // (vertices + 1, width)
  const float* factor;   // (points)
};

// Calls body(std::integral_constant<int, width>), with 0 for widths that are not compiled separately.
template <typename Body>
DEEPLAB_ALWAYS_INLINE void for_width(int64_t width, const Body& body) {
  switch (width) {
    case 4:
      return body(std::integral_constant<int, 4>{});
    case 8:
      return body(std::integral_constant<int, 8>{});
    case 16:
      return body(std::integral_constant<int, 16>{});
    case 24:
      return body(std::integral_constant<int, 24>{});
    default:
      return body(std::integral_constant<int, 0>{});
  }
}

template <int Corners, typename Vector, int kVectors>
DEEPLAB_ALWAYS_INLINE void add_message(const Slice& slice, int64_t width, int64_t column, int64_t point,
                                       Vector (&next)[kVectors]) {
  // A lattice of positions only is small, and its vertices are visited in order.
  if constexpr (Corners == 6) {
    const int64_t later = std::min(point + kAhead, slice.lattice->points - 1);
    const int32_t* vertex = slice.lattice->point_vertex.data() + lattice::first_corner(later, Corners);
    for (int r = 0; r < Corners; ++r) prefetch(slice.blurred + vertex[r * kBlock] * width + column, sizeof(next));
  }
  Vector message[kVectors];
  lattice::slice_point<Corners>(*slice.lattice, slice.blurred, width, column, point, message);
  for (int k = 0; k < kVectors; ++k) next[k] += slice.factor[point] * message[k];
}

// Calls body(std::integral_constant<int, corners>) with the number of a lattice's corners, or 0 for rare numbers.
template <typename Body>
DEEPLAB_ALWAYS_INLINE void for_corners(const Lattice& lattice, const Body& body) {
  switch (lattice.dims) {
    case 2:
      return body(std::integral_constant<int, 3>{});
    case 5:
      return body(std::integral_constant<int, 6>{});
    default:
      return body(std::integral_constant<int, 0>{});
  }
}

// Q before the softmax: the scores and the slices of all kernels in one pass over the pixels.
DEEPLAB_ALWAYS_INLINE void add_messages(const std::vector<Slice>& slices, const float* scores, int64_t any_width,
                                        float* q, int64_t begin, int64_t end) {
  lattice::for_each_piece(any_width, [&](auto piece, int64_t width, int64_t column) DEEPLAB_INLINE_LAMBDA {
    using Vector = typename decltype(piece)::Vector;
    constexpr int kVectors = decltype(piece)::kVectors;
    for (int64_t point = begin; point < end; ++point) {
      const Vector* score = reinterpret_cast<const Vector*>(scores + point * width + column);
      Vector next[kVectors];
      for (int k = 0; k < kVectors; ++k) next[k] = score[k];
      for (const Slice& slice : slices) {
        for_corners(*slice.lattice, [&](auto corners) DEEPLAB_INLINE_LAMBDA {
          add_message<decltype(corners)::value>(slice, width, column, point, next);
        });
      }
      Vector* target = reinterpret_cast<Vector*>(q + point * width + column);
      for (int k = 0; k < kVectors; ++k) target[k] = next[k];
    }
  });
}

template <int Corners, typename L>
DEEPLAB_ALWAYS_INLINE void add_pair_message(const Slice& slice, int64_t point, typename L::Float& next) {
  using Rows = lattice::Narrow<L, 2>;
  const Lattice& lattice = *slice.lattice;
  const int corners = Corners ? Corners : lattice.dims + 1;
  const int64_t first = lattice::first_corner(point, corners);
  typename L::Float message{}, share, row;
  for (int64_t corner = first; corner < first + corners * kBlock; corner += kBlock) {
    Rows::spread(lattice.point_weight.data() + corner, share);
    Rows::gather(slice.blurred, lattice.point_vertex.data() + corner, row);
    message += share * lattice.alpha * row;
  }
  Rows::spread(slice.factor + point, share);
  next += share * message;
}

// Rows of two floats, several in a vector, up to the end of the last block.
template <typename L>
DEEPLAB_ALWAYS_INLINE void update_pairs(const std::vector<Slice>& slices, const float* scores, float* q, int64_t begin,
                                        int64_t end) {
  using Vector = typename L::Float;
  for (int64_t point = begin; point < end; point += lattice::Narrow<L, 2>::kRows) {
    Vector next = *reinterpret_cast<const Vector*>(scores + 2 * point);
    for (const Slice& slice : slices) {
      for_corners(*slice.lattice, [&](auto corners) DEEPLAB_INLINE_LAMBDA {
        add_pair_message<decltype(corners)::value, L>(slice, point, next);
      });
    }
    softmax_pairs<L>(next);
    *reinterpret_cast<Vector*>(q + 2 * point) = next;
  }
}

// q = softmax(scores + slices) for points [begin, end), a few at a time, which stay in the nearest cache from one step
// to the next. `begin` starts a block.
template <typename L>
DEEPLAB_ALWAYS_INLINE void update(const std::vector<Slice>& slices, const float* scores, int64_t channels,
                                  int64_t width, float* q, int64_t begin, int64_t end) {
  if (width == 2) {
    return with_gathers<L>([&](auto lanes)
                               DEEPLAB_INLINE_LAMBDA { update_pairs<decltype(lanes)>(slices, scores, q, begin, end); });
  }
  for_width(width, [&](auto known) DEEPLAB_INLINE_LAMBDA {
    for (int64_t point = begin; point < end; point += kSoftmaxRows) {
      const int64_t last = std::min<int64_t>(point + kSoftmaxRows, end);
      add_messages(slices, scores, width, q, point, last);
      softmax_range<L, decltype(known)::value>(q + point * width, last - point, channels, width);
    }
  });
}

#define DEEPLAB_DEFINE_UPDATE(target, lanes)                                                                       \
  target void update_range(const std::vector<Slice>& slices, const float* scores, int64_t channels, int64_t width, \
                           float* q, int64_t begin, int64_t end) {                                                 \
    update<lanes>(slices, scores, channels, width, q, begin, end);                                                 \
  }
DEEPLAB_TARGET_VERSIONS(DEEPLAB_DEFINE_UPDATE)

// Replaces each row by its product with the labels' costs. Slicing is linear, so that this can be done for the
// vertices, which are fewer than the pixels.
DEEPLAB_TARGET_CLONES
void apply_costs(const float* costs, bool full, int64_t channels, int64_t width, float* rows, float* scratch,
                 int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i) {
    float* row = rows + i * width;
    if (!full) {
      for (int64_t c = 0; c < width; ++c) row[c] *= costs[c];
      continue;
    }
    std::fill_n(scratch, width, 0.f);
    for (int64_t k = 0; k < channels; ++k) {
      for (int64_t c = 0; c < width; ++c) scratch[c] += row[k] * costs[k * width + c];
    }
    std::copy_n(scratch, width, row);
  }
}

// Sums over all points, chunk by chunk, so that the sums do not depend on the number of threads.
template <typename Term>
double sum_over_points(int64_t points, const Term& term) {
  std::vector<double> sums((points + kPointGrain - 1) / kPointGrain);
  parallel_for(points, kPointGrain, [&](int64_t begin, int64_t end) {
    for (int64_t point = begin; point < end; ++point) sums[begin / kPointGrain] += term(point);
  });
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}

}  // namespace

MeanField::MeanField(int64_t channels, int64_t points, std::vector<Kernel> kernels)
    : channels_(channels),
      points_(points),
      // A single channel is stored as two: the code for rows of one float would not use vectors.
      width_(lattice::padded_width(std::max<int64_t>(channels_, 2))),
      rows_((points_ + kBlock - 1) / kBlock * kBlock),
      scores_(rows_ * width_),
      q_(rows_ * width_) {
  std::fill(scores_.data() + points_ * width_, scores_.data() + rows_ * width_, 0.f);
  messages_.reserve(kernels.size());
  for (const Kernel& kernel : kernels) messages_.push_back(make_message(kernel));
}

void MeanField::weigh_entries(const Lattice& lattice, const AlignedBuffer<float>& norm, Message& message) const {
  const int64_t count = lattice.entries.size();
  if (width_ == 2) {
    const lattice::InterleavedEntries& interleaved = lattice.interleaved_entries();
    message.interleaved_weight = AlignedBuffer<float>(count + lattice::kWeightsBeyond);
    parallel_for(count, kPointGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        message.interleaved_weight[i] = interleaved.weight[i] * norm[interleaved.point[i]];
    });
    return;
  }
  message.entries = AlignedBuffer<lattice::Entry>(count);
  parallel_for(count, kPointGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const auto [point, entry_weight] = lattice.entries[i];
      message.entries[i] = {point, entry_weight * norm[point]};
    }
  });
}

MeanField::Message MeanField::make_message(const Kernel& kernel) const {
  const Lattice& lattice = *kernel.lattice;
  Message message{kernel.lattice,
                  lattice::VertexValues(lattice, width_),
                  {},
                  {},
                  AlignedBuffer<float>(rows_ + lattice::kWeightsBeyond),
                  {}};
  if (width_ == 2) lattice.interleaved_entries();  // made here, so that no iteration allocates
  const float weight = kernel.costs.empty() ? kernel.weight : 1.f;
  if (kernel.normalization == Normalization::kNone) {
    std::fill_n(message.factor.data(), points_, weight);
  } else {
    const AlignedBuffer<float>& ones = lattice.filtered_ones();
    AlignedBuffer<float> norm(points_);
    parallel_for(points_, kPointGrain, [&](int64_t begin, int64_t end) {
      for (int64_t point = begin; point < end; ++point) {
        norm[point] = lattice::norm_factor(ones[point]);
        if (kernel.normalization == Normalization::kSymmetric) norm[point] = std::sqrt(norm[point]);
        message.factor[point] = kernel.normalization == Normalization::kBefore ? weight : weight * norm[point];
      }
    });
    if (kernel.normalization != Normalization::kAfter) weigh_entries(lattice, norm, message);
  }
  if (!kernel.costs.empty()) {
    const int64_t rows = static_cast<int64_t>(kernel.costs.size()) / channels_;
    message.costs = AlignedBuffer<float>(rows * width_);
    std::fill_n(message.costs.data(), rows * width_, 0.f);
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < channels_; ++c) {
        // Column r of the matrix, or the diagonal.
        const float cost = kernel.costs[rows == 1 ? c : c * channels_ + r];
        message.costs[r * width_ + c] = -kernel.weight * cost;
      }
    }
  }
  return message;
}

void MeanField::start(const TensorView& scores, bool probabilities) {
  parallel_for(points_, kPointGrain, [&](int64_t begin, int64_t end) {
    for (int64_t point = begin; point < end; point += kBlock) {
      const int64_t count = std::min(kBlock, end - point);
      float* rows = scores_.data() + point * width_;
      load_rows(scores, width_, point, count, rows);
      if (!probabilities) continue;
      for (int64_t i = 0; i < count; ++i) {
        for (int64_t c = 0; c < channels_; ++c) rows[i * width_ + c] = std::log(rows[i * width_ + c]);
      }
    }
    update_range({}, scores_.data(), channels_, width_, q_.data(), begin, end);
  });
  iterations_ = 0;
}

void MeanField::send(Message& message) {
  if (width_ == 2) {
    message.values.splat_pairs(q_.data(),
                               message.interleaved_weight.size() ? message.interleaved_weight.data() : nullptr);
  } else {
    message.values.splat(q_.data(), message.entries.size() ? message.entries.data() : nullptr);
  }
  message.values.blur();
  if (message.costs.size() == 0) return;
  const bool full = message.costs.size() > width_;
  parallel_for(message.lattice->vertices, kVertexGrain, [&](int64_t begin, int64_t end) {
    std::vector<float> scratch(full ? width_ : 0);
    apply_costs(message.costs.data(), full, channels_, width_, message.values.data() + width_, scratch.data(), begin,
                end);
  });
}

void MeanField::step() {
  std::vector<Slice> slices;
  slices.reserve(messages_.size());
  for (Message& message : messages_) {
    send(message);
    slices.push_back({message.lattice.get(), message.values.data(), message.factor.data()});
  }
  parallel_for(points_, kPointGrain, [&](int64_t begin, int64_t end) {
    update_range(slices, scores_.data(), channels_, width_, q_.data(), begin, end);
  });
  ++iterations_;
}

void MeanField::run(int64_t iterations) {
  for (int64_t i = 0; i < iterations; ++i) step();
}

void MeanField::set_marginals(const TensorView& q) {
  parallel_for(points_, kPointGrain, [&](int64_t begin, int64_t end) {
    std::fill(q_.data() + begin * width_, q_.data() + end * width_, 0.f);
    for (int64_t point = begin; point < end; ++point) {
      for (int64_t c = 0; c < channels_; ++c) {
        q_[point * width_ + c] = q.ptr<const float>()[c * q.stride(0) + point * q.stride(1)];
      }
    }
  });
}

void MeanField::marginals(const TensorView& out, bool logarithm) const {
  float* target = out.ptr<float>();
  parallel_for(points_, kPointGrain, [&](int64_t begin, int64_t end) {
    for (int64_t point = begin; point < end; point += kBlock) {
      const int64_t count = std::min(kBlock, end - point);
      store_rows(q_.data() + point * width_, channels_, width_, point, count, target, points_);
    }
    if (!logarithm) return;
    for (int64_t c = 0; c < channels_; ++c) {
      for (int64_t point = begin; point < end; ++point) {
        float& value = target[c * points_ + point];
        value = std::log(std::max(value, std::numeric_limits<float>::min()));
      }
    }
  });
}

Energies MeanField::energies() {
  Energies energies;
  energies.entropy = sum_over_points(points_, [&](int64_t point) {
    double sum = 0;
    for (int64_t c = 0; c < channels_; ++c) {
      const double q = q_[point * width_ + c];
      sum += q * std::log(std::max(q, 1e-20));
    }
    return sum;
  });
  energies.unary = sum_over_points(points_, [&](int64_t point) {
    double sum = 0;
    for (int64_t i = point * width_; i < point * width_ + channels_; ++i) {
      if (q_[i] > 0) sum -= static_cast<double>(scores_[i]) * q_[i];
    }
    return sum;
  });
  for (Message& message : messages_) {
    send(message);
    energies.pairwise.push_back(sum_over_points(points_, [&](int64_t point) {
      double sum = 0;
      for (int64_t c = 0; c < channels_; ++c) {
        float filtered[1];
        lattice::slice_point<0>(*message.lattice, message.values.data(), width_, c, point, filtered);
        sum -= static_cast<double>(message.factor[point]) * filtered[0] * q_[point * width_ + c];
      }
      return sum;
    }));
  }
  return energies;
}

int64_t MeanField::bytes(int64_t points, int64_t channels, int64_t kernels) {
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  DEEPLAB_CHECK(channels <= kMost && kernels <= kMost, "expected at most ", kMost, " labels and kernels, got ",
                channels, " and ", kernels);
  const int64_t width = lattice::padded_width(std::max<int64_t>(channels, 2));
  // Interleaved entries, as many as a kernel with colour features has.
  const int64_t interleaved = width == 2 ? 12 : 0;
  return product({4, points, 2 * width + product({kernels, 1 + interleaved})});
}

}  // namespace deeplab::mean_field
