// Host code of softmax_loss.
#pragma once

#include <optional>

#include "../common/tensor_view.h"
#include "softmax_loss.h"

namespace deeplab::softmax_loss {

// All contiguous, on one device.
struct Problem {
  TensorView scores;                        // (N, C, H, W)
  TensorView labels;                        // (N, H, W), any dtype
  std::optional<TensorView> class_weights;  // (C), the scores' dtype; all 1 if absent
  TensorView stats;                         // (N, 2, H, W): maximum and sum of exp(score - maximum), kept for backward
  TensorView totals;                        // (3) float64: a Totals
  IgnoredLabels ignored;

  int64_t channels() const { return scores.size(1); }
  int64_t plane() const { return scores.size(2) * scores.size(3); }
  int64_t pixels() const { return scores.size(0) * plane(); }
  template <typename scalar_t>
  const scalar_t* weights() const {
    return class_weights ? class_weights->ptr<const scalar_t>() : nullptr;
  }
};

// Writes loss (), stats and totals; workspace (chunks_for(pixels), 3) float64.
void forward_cpu(const Problem& problem, const TensorView& workspace, const TensorView& loss);
void forward_cuda(const Problem& problem, const TensorView& workspace, const TensorView& loss, uintptr_t stream);
// Reads stats and totals; grad_loss (), grad_scores (N, C, H, W).
void backward_cpu(const Problem& problem, const TensorView& grad_loss, const TensorView& grad_scores);
void backward_cuda(const Problem& problem, const TensorView& grad_loss, const TensorView& grad_scores,
                   uintptr_t stream);

}  // namespace deeplab::softmax_loss
