// Mean field inference in a fully connected CRF with Potts compatibility, as DeepLab v1 does it
// (layers/densecrf_layer.cpp, util/densecrf_pairwise.cpp; Kraehenbuehl and Koltun, 2011).
//
// Q starts as softmax(score). An iteration is Q = softmax(score + sum over kernels of weight * norm * filter(Q)), with
// norm = 1 / (filter(1) + 1e-20) per pixel after the filter: not symmetric, the pixel itself included, no damping.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "../common/aligned_buffer.h"
#include "../common/host_device.h"
#include "../common/tensor_view.h"
#include "../lattice/filter.h"
#include "../lattice/lattice.h"

namespace deeplab::mean_field {

// exp(x) for x <= 0 as the original's fast_exp computes it: 0 below -20; the argument halved until it is at most 0.69
// (0.69f for its 0.69: no float lies between them), the polynomial of Abramowitz and Stegun 4.2.45 for exp(-y) on
// [0, ln 2] (error below 2e-10), squared back. Without branches, so that loops over it vectorise.
DEEPLAB_HOST_DEVICE float fast_exp(float x) {
  constexpr int kHalvings = 5;  // 20 / 2^5 < 0.69
  constexpr float kHalfAbove = 0.69f;
  constexpr float kZeroAbove = 20.f;
  const bool vanishes = -x > kZeroAbove;
  float y = vanishes ? kZeroAbove : -x;
  bool halved[kHalvings];
  for (int i = 0; i < kHalvings; ++i) {
    halved[i] = y > kHalfAbove;
    y = halved[i] ? 0.5f * y : y;
  }
  float power = 0.0001413161f;
  power = 0.0013298820f - y * power;
  power = 0.0083013598f - y * power;
  power = 0.0416573475f - y * power;
  power = 0.1666653019f - y * power;
  power = 0.4999999206f - y * power;
  power = 0.9999999995f - y * power;
  power = 1.f - y * power;
  for (int i = 0; i < kHalvings; ++i) power = halved[i] ? power * power : power;
  return vanishes ? 0.f : power;
}

struct Kernel {
  std::shared_ptr<const lattice::Lattice> lattice;
  float weight;
};

// One image's inference. All memory is allocated by the constructor.
class MeanField {
 public:
  // scores (C, points) float32, any strides; -inf marks a label as impossible at a pixel. With `probabilities` it is
  // their logarithms that are the scores. Q is softmax(scores).
  MeanField(const TensorView& scores, std::vector<Kernel> kernels, bool probabilities);

  void run(int64_t iterations);
  // out (C, points) float32, contiguous: Q, or with `logarithm` log(max(Q, FLT_MIN))
  void marginals(const TensorView& out, bool logarithm) const;

  int64_t iterations() const { return iterations_; }
  int64_t channels() const { return channels_; }
  int64_t points() const { return points_; }
  // Without the lattices and what is in them.
  static int64_t bytes(int64_t points, int64_t channels, int64_t kernels);

 private:
  struct Message {
    std::shared_ptr<const lattice::Lattice> lattice;
    lattice::VertexValues values;
    AlignedBuffer<float> factor;  // (points): weight * norm
  };

  void step();

  int64_t channels_, points_, width_;
  int64_t iterations_ = 0;
  AlignedBuffer<float> scores_;  // (points, width)
  AlignedBuffer<float> q_;       // (points, width)
  std::vector<Message> messages_;
};

}  // namespace deeplab::mean_field
