#include "../common/bindings.h"
#include "problem.h"

namespace deeplab::softmax_loss {
namespace {

void check_member(const Problem& problem, const TensorView& tensor, const char* name, DType dtype,
                  const std::vector<int64_t>& sizes) {
  check_dtype(tensor, name, dtype);
  check_sizes(tensor, name, sizes);
  check_contiguous(tensor, name);
  DEEPLAB_CHECK(tensor.device == problem.scores.device, name, ": expected the scores' device, got ", tensor.describe(),
                " for scores ", problem.scores.describe());
}

Problem make_problem(const TensorView& scores, const TensorView& labels, const std::optional<TensorView>& class_weights,
                     const TensorView& stats, const TensorView& totals, const std::vector<int32_t>& ignored) {
  check_dim(scores, "scores", 4);
  check_contiguous(scores, "scores");
  DEEPLAB_CHECK(scores.size(1) >= 1, "scores: expected at least one channel, got ", scores.describe());
  DEEPLAB_CHECK(ignored.size() <= kMaxIgnored, "softmax_loss: at most ", kMaxIgnored, " labels can be ignored, got ",
                ignored.size());
  Problem problem{scores, labels, class_weights, stats, totals, {static_cast<int>(ignored.size()), {}}};
  std::copy(ignored.begin(), ignored.end(), problem.ignored.values);
  const int64_t n = scores.size(0), height = scores.size(2), width = scores.size(3);
  DEEPLAB_CHECK(labels.dtype != DType::kFloat16 && labels.dtype != DType::kBFloat16,
                "labels: expected integers, float32 or float64, got ", labels.describe());
  check_member(problem, labels, "labels", labels.dtype, {n, height, width});
  if (class_weights) check_member(problem, *class_weights, "class_weights", scores.dtype, {scores.size(1)});
  check_member(problem, stats, "stats", scores.dtype, {n, 2, height, width});
  check_member(problem, totals, "totals", DType::kFloat64, {3});
  return problem;
}

void forward(const TensorView& scores, const TensorView& labels, const std::optional<TensorView>& class_weights,
             const std::vector<int32_t>& ignored, const TensorView& workspace, const TensorView& loss,
             const TensorView& stats, const TensorView& totals, uintptr_t stream) {
  const Problem problem = make_problem(scores, labels, class_weights, stats, totals, ignored);
  check_member(problem, workspace, "workspace", DType::kFloat64, {chunks_for(problem.pixels()), 3});
  check_member(problem, loss, "loss", scores.dtype, {});
  DEEPLAB_DISPATCH_DEVICE(scores, forward, problem, workspace, loss);
}

void backward(const TensorView& scores, const TensorView& labels, const std::optional<TensorView>& class_weights,
              const std::vector<int32_t>& ignored, const TensorView& stats, const TensorView& totals,
              const TensorView& grad_loss, const TensorView& grad_scores, uintptr_t stream) {
  const Problem problem = make_problem(scores, labels, class_weights, stats, totals, ignored);
  check_member(problem, grad_loss, "grad_loss", scores.dtype, {});
  check_member(problem, grad_scores, "grad_scores", scores.dtype, scores.sizes);
  DEEPLAB_DISPATCH_DEVICE(scores, backward, problem, grad_loss, grad_scores);
}

}  // namespace

void bind(py::module_& module) {
  module.attr("softmax_loss_chunk") = kChunk;
  module.def("softmax_loss_forward", &forward, py::arg("scores"), py::arg("labels"), py::arg("class_weights"),
             py::arg("ignored"), py::arg("workspace"), py::arg("loss"), py::arg("stats"), py::arg("totals"),
             py::arg("stream") = 0, py::call_guard<GilRelease>());
  module.def("softmax_loss_backward", &backward, py::arg("scores"), py::arg("labels"), py::arg("class_weights"),
             py::arg("ignored"), py::arg("stats"), py::arg("totals"), py::arg("grad_loss"), py::arg("grad_scores"),
             py::arg("stream") = 0, py::call_guard<GilRelease>());
}

}  // namespace deeplab::softmax_loss
