// Depthwise convolution in channels-last memory: a vector has neighbouring channels of one pixel.
//
// Taps outside of the image are skipped, so that a widely dilated kernel, as in DeepLab v3's pyramid, costs only the
// taps that lie on the image.
#include <algorithm>
#include <vector>

#include "../common/parallel.h"
#include "../common/rectify.h"
#include "../common/simd.h"
#include "depthwise.h"

namespace deeplab::depthwise {
namespace {

// Number of channels that are processed together, so that the pixels stay in the L2 cache from one row of outputs to
// the next.
constexpr int64_t kChannelsTogether = 128;
// Neighbouring outputs whose sums stay in registers, so that each weight is loaded once for all of them.
constexpr int kOutputs = 4;
// Products per chunk of work, which take about a hundred microseconds.
constexpr int64_t kChunk = 1 << 20;

// Neighbouring outputs along an axis, [begin, end), with the same taps, [first, last), inside the image.
struct Stretch {
  int64_t begin, end, first, last;
};

struct Job {
  const float *x, *taps, *bias;
  float* y;
  int64_t channels;
  Axis rows, columns;
  std::vector<Stretch> down, across;
  bool relu;
  float ceiling;
};

std::vector<Stretch> stretches(const Axis& axis) {
  std::vector<Stretch> found;
  for (int64_t output = 0; output < axis.out; ++output) {
    Stretch one{output, output + 1, 0, 0};
    for (int64_t tap = 0; tap < axis.kernel; ++tap) {
      const int64_t at = hole::source(axis, output, tap);
      if (at < 0) one.first = tap + 1;
      if (at < axis.in) one.last = tap + 1;
    }
    one.last = std::max(one.first, one.last);
    if (!found.empty() && found.back().first == one.first && found.back().last == one.last) {
      found.back().end = one.end;
    } else {
      found.push_back(one);
    }
  }
  return found;
}

// Computes kCount neighbouring outputs, with kVectors vectors of channels each. `x` is the input of the first output's
// first tap, `y` the first output, both at channel `channel`.
template <typename Vector, int kVectors, int kCount>
DEEPLAB_ALWAYS_INLINE void compute(const Job& job, const Stretch& down, const Stretch& across, const float* x, float* y,
                                   int64_t channel) {
  using Loose __attribute__((vector_size(sizeof(Vector)), aligned(4))) = float;
  constexpr int kLanes = sizeof(Vector) / sizeof(float);
  const int64_t pixel = job.channels, next = job.columns.stride * pixel, tap_step = job.columns.dilation * pixel;
  const int64_t row_step = job.rows.dilation * job.columns.in * pixel;
  Vector sum[kCount][kVectors];
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; ++v) {
    Vector bias{};
    if (job.bias) bias = *reinterpret_cast<const Loose*>(job.bias + channel + v * kLanes);
#pragma GCC unroll 8
    for (int i = 0; i < kCount; ++i) sum[i][v] = bias;
  }
  for (int64_t ky = down.first; ky < down.last; ++ky, x += row_step) {
    const float* tap = job.taps + (ky * job.columns.kernel + across.first) * pixel + channel;
    const float* at = x;
    for (int64_t kx = across.first; kx < across.last; ++kx, tap += pixel, at += tap_step) {
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) {
        const Vector weight = *reinterpret_cast<const Loose*>(tap + v * kLanes);
#pragma GCC unroll 8
        for (int i = 0; i < kCount; ++i) {
          sum[i][v] += weight * *reinterpret_cast<const Loose*>(at + i * next + v * kLanes);
        }
      }
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < kCount; ++i) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      if (job.relu) rectify(sum[i][v], job.ceiling);
      *reinterpret_cast<Loose*>(y + i * pixel + v * kLanes) = sum[i][v];
    }
  }
}

// Calls compute for channels [channel, end), with as many vectors at a time as possible.
template <typename L, int kCount>
DEEPLAB_ALWAYS_INLINE void compute_channels(const Job& job, const Stretch& down, const Stretch& across, const float* x,
                                            float* y, int64_t channel, int64_t end) {
  using Vector = typename L::Float;
  const int64_t begin = channel;
  for (; channel + 2 * L::kLanes <= end; channel += 2 * L::kLanes) {
    compute<Vector, 2, kCount>(job, down, across, x + channel - begin, y + channel - begin, channel);
  }
  for (; channel + L::kLanes <= end; channel += L::kLanes) {
    compute<Vector, 1, kCount>(job, down, across, x + channel - begin, y + channel - begin, channel);
  }
  for (; channel < end; ++channel) {
    using One __attribute__((vector_size(4))) = float;
    compute<One, 1, kCount>(job, down, across, x + channel - begin, y + channel - begin, channel);
  }
}

// Computes one row of outputs, channels [channel, end).
template <typename L>
DEEPLAB_ALWAYS_INLINE void compute_row(const Job& job, int64_t image, int64_t row, const Stretch& down, int64_t channel,
                                       int64_t end) {
  const int64_t top = image * job.rows.in + hole::source(job.rows, row, down.first);
  const int64_t target = (image * job.rows.out + row) * job.columns.out;
  for (const Stretch& across : job.across) {
    int64_t output = across.begin;
    const auto first = [&] {
      return job.x + (top * job.columns.in + hole::source(job.columns, output, across.first)) * job.channels + channel;
    };
    for (; output + kOutputs <= across.end; output += kOutputs) {
      compute_channels<L, kOutputs>(job, down, across, first(), job.y + (target + output) * job.channels + channel,
                                    channel, end);
    }
    for (; output < across.end; ++output) {
      compute_channels<L, 1>(job, down, across, first(), job.y + (target + output) * job.channels + channel, channel,
                             end);
    }
  }
}

#define DEEPLAB_DEFINE_ROWS(target, lanes)                                                                             \
  target void compute_rows(const Job& job, int64_t image, int64_t begin, int64_t end, int64_t channel, int64_t last) { \
    for (const Stretch& down : job.down) {                                                                             \
      for (int64_t row = std::max(begin, down.begin); row < std::min(end, down.end); ++row) {                          \
        compute_row<lanes>(job, image, row, down, channel, last);                                                      \
      }                                                                                                                \
    }                                                                                                                  \
  }
DEEPLAB_TARGET_VERSIONS(DEEPLAB_DEFINE_ROWS)

// The outputs of an image without pixels, whose pointer may be null: all taps are in the padding.
void fill_with_bias(const TensorView* bias, const TensorView& y, bool relu, float ceiling) {
  const int64_t channels = y.size(1);
  std::vector<float> pixel(channels);
  if (bias) std::copy_n(bias->ptr<const float>(), channels, pixel.begin());
  for (float& value : pixel) {
    if (relu) rectify(value, ceiling);
  }
  for (int64_t i = 0; i < y.numel(); i += channels) std::copy(pixel.begin(), pixel.end(), y.ptr<float>() + i);
}

}  // namespace

void forward_channels_last_cpu(const TensorView& x, const TensorView& taps, const TensorView* bias, const TensorView& y,
                               const Geometry& geometry, bool relu, float ceiling) {
  if (y.numel() == 0) return;
  if (x.numel() == 0) return fill_with_bias(bias, y, relu, ceiling);
  const Job job{x.ptr<const float>(),
                taps.ptr<const float>(),
                bias ? bias->ptr<const float>() : nullptr,
                y.ptr<float>(),
                x.size(1),
                geometry.y,
                geometry.x,
                stretches(geometry.y),
                stretches(geometry.x),
                relu,
                ceiling};
  const int64_t blocks = (job.channels + kChannelsTogether - 1) / kChannelsTogether;
  const int64_t row =
      job.columns.out * job.rows.kernel * job.columns.kernel * std::min(job.channels, kChannelsTogether);
  const int64_t rows = std::clamp<int64_t>(kChunk / std::max<int64_t>(1, row), 1, job.rows.out);
  const int64_t bands = (job.rows.out + rows - 1) / rows;
  parallel_for(x.size(0) * blocks * bands, 1, [&](int64_t index, int64_t) {
    const int64_t channel = index / bands % blocks * kChannelsTogether, begin = index % bands * rows;
    compute_rows(job, index / bands / blocks, begin, std::min(begin + rows, job.rows.out), channel,
                 std::min(channel + kChannelsTogether, job.channels));
  });
}

}  // namespace deeplab::depthwise
