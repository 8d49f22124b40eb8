// Mean field inference in a fully connected CRF (Kraehenbuehl and Koltun, 2011).
//
// Q starts as softmax(score). An iteration is Q = softmax(score + sum over kernels of message). The default is what
// DeepLab v1 does (layers/densecrf_layer.cpp, util/densecrf_pairwise.cpp): Potts compatibility, and the message is
// weight * norm * filter(Q) with norm = 1 / (filter(1) + 1e-20) per pixel after the filter: not symmetric, the pixel
// itself included, no damping. The others are those of Kraehenbuehl's 2013 code, which pydensecrf wraps.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "../common/aligned_buffer.h"
#include "../common/tensor_view.h"
#include "../lattice/filter.h"
#include "../lattice/lattice.h"
#include "fast_exp.h"

namespace deeplab::mean_field {

// Where the factor norm = 1 / (filter(1) + 1e-20) is applied.
enum class Normalization {
  kNone,
  kBefore,     // filter(norm * Q)
  kAfter,      // norm * filter(Q)
  kSymmetric,  // sqrt(norm) * filter(sqrt(norm) * Q)
};

struct Kernel {
  std::shared_ptr<const lattice::Lattice> lattice;
  float weight;
  Normalization normalization = Normalization::kAfter;
  // Label compatibility, f being the filtered and normalised Q: empty for Potts, whose message is weight * f; C numbers
  // for -weight * costs[l] * f[l]; or C * C for -weight * sum over k of costs[l][k] * f[k].
  std::vector<float> costs = {};
};

// Parts of the free energy of Q, whose sum is its KL divergence from the CRF's distribution up to a constant.
struct Energies {
  DEEPLAB_NEEDS_INIT(Energies)

  double entropy = 0;            // sum of Q log Q: minus the entropy
  double unary = 0;              // sum of -score * Q
  std::vector<double> pairwise;  // by kernel: sum of -message * Q
};

// One image's inference. All memory is allocated by the constructor.
class MeanField {
 public:
  DEEPLAB_NEEDS_INIT(MeanField)

  MeanField(int64_t channels, int64_t points, std::vector<Kernel> kernels);

  // scores (C, points) float32, any strides; -inf marks a label as impossible at a pixel. With `probabilities` their
  // logarithms are the scores. Q becomes softmax(scores).
  void start(const TensorView& scores, bool probabilities);
  void run(int64_t iterations);
  // q (C, points) float32, any strides
  void set_marginals(const TensorView& q);
  // out (C, points) float32, contiguous: Q, or with `logarithm` log(max(Q, FLT_MIN))
  void marginals(const TensorView& out, bool logarithm) const;
  Energies energies();

  int64_t iterations() const { return iterations_; }
  int64_t channels() const { return channels_; }
  int64_t points() const { return points_; }
  // Bytes of an inference without the lattices and the values on them.
  static int64_t bytes(int64_t points, int64_t channels, int64_t kernels);

 private:
  struct Message {
    std::shared_ptr<const lattice::Lattice> lattice;
    lattice::VertexValues values;
    // The lattice's entries times a norm before the filter (for rows of two floats, the weights of its interleaved
    // entries); empty without such a norm.
    AlignedBuffer<lattice::Entry> entries;
    AlignedBuffer<float> interleaved_weight;
    AlignedBuffer<float> factor;  // (rows): weight * norm
    AlignedBuffer<float> costs;   // empty, (width) or (C, width)
  };

  Message make_message(const Kernel& kernel) const;
  void weigh_entries(const lattice::Lattice& lattice, const AlignedBuffer<float>& norm, Message& message) const;
  // Computes a message up to its slice.
  void send(Message& message);
  void step();

  int64_t channels_, points_, width_;
  int64_t rows_;  // points_, and up to the end of a block
  int64_t iterations_ = 0;
  AlignedBuffer<float> scores_;  // (rows, width)
  AlignedBuffer<float> q_;       // (rows, width)
  std::vector<Message> messages_;
};

}  // namespace deeplab::mean_field
