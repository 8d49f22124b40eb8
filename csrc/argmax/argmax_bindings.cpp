#include "../common/bindings.h"
#include "argmax.h"

namespace deeplab::argmax {
namespace {

void check_scores(const TensorView& scores) {
  check_dim(scores, "scores", 4);
  check_contiguous(scores, "scores");
  DEEPLAB_CHECK(scores.size(1) >= 1, "scores: expected at least one channel, got ", scores.describe());
}

void top(const TensorView& scores, const TensorView& output, int64_t top_k, bool out_max_val, uintptr_t stream) {
  check_scores(scores);
  DEEPLAB_CHECK(top_k >= 1 && top_k <= scores.size(1), "argmax: top_k must be between 1 and the ", scores.size(1),
                " channels, got ", top_k);
  check_same_dtype_and_device(scores, "scores", output, "output");
  check_sizes(output, "output", {scores.size(0), out_max_val ? 2 * top_k : top_k, scores.size(2), scores.size(3)});
  check_contiguous(output, "output");
  DEEPLAB_DISPATCH_DEVICE(scores, top, scores, output, top_k);
}

void labels(const TensorView& scores, const TensorView& labels, bool last, uintptr_t stream) {
  check_scores(scores);
  DEEPLAB_CHECK(labels.dtype == DType::kUInt8 || labels.dtype == DType::kInt64, "labels: expected uint8 or int64, got ",
                labels.describe());
  DEEPLAB_CHECK(labels.dtype == DType::kInt64 || scores.size(1) <= 256, "argmax_labels: ", scores.size(1),
                " channels do not fit into uint8 labels: ask for int64");
  DEEPLAB_CHECK(scores.device == labels.device, "scores and labels: expected one device, got ", scores.describe(),
                " and ", labels.describe());
  check_sizes(labels, "labels", {scores.size(0), scores.size(2), scores.size(3)});
  check_contiguous(labels, "labels");
  DEEPLAB_DISPATCH_DEVICE(scores, labels, scores, labels, last);
}

}  // namespace

void bind(py::module_& module) {
  module.def("argmax_top", &top, py::arg("scores"), py::arg("output"), py::arg("top_k"), py::arg("out_max_val"),
             py::arg("stream") = 0, py::call_guard<GilRelease>());
  module.def("argmax_labels", &labels, py::arg("scores"), py::arg("labels"), py::arg("last"), py::arg("stream") = 0,
             py::call_guard<GilRelease>());
}

}  // namespace deeplab::argmax
