#include "../common/bindings.h"
#include "../interp/window_check.h"
#include "interp_argmax.h"

namespace deeplab::interp_argmax {
namespace {

void labels(const TensorView& scores, const TensorView& labels, int64_t height, int64_t width, int64_t top,
            int64_t left, bool last, uintptr_t stream, bool align_corners) {
  check_dim(labels, "labels", 3);
  const interp::Window window{top, left, labels.size(1), labels.size(2)};
  interp::check_window(scores, height, width, window);
  DEEPLAB_CHECK(labels.dtype == DType::kUInt8 || labels.dtype == DType::kInt64, "labels: expected uint8 or int64, got ",
                labels.describe());
  DEEPLAB_CHECK(labels.dtype == DType::kInt64 || scores.size(1) <= 256, "interp_argmax: ", scores.size(1),
                " channels do not fit into uint8 labels: ask for int64");
  DEEPLAB_CHECK(scores.device == labels.device, "scores and labels: expected one device, got ", scores.describe(),
                " and ", labels.describe());
  DEEPLAB_CHECK(scores.size(0) == labels.size(0), "scores and labels: expected equal N, got ", scores.describe(),
                " and ", labels.describe());
  check_contiguous(labels, "labels");
  DEEPLAB_DISPATCH_DEVICE(scores, labels, scores, labels, height, width, window, align_corners, last);
}

}  // namespace

void bind(py::module_& module) {
  module.def("interp_argmax", &labels, py::arg("scores"), py::arg("labels"), py::arg("height"), py::arg("width"),
             py::arg("top"), py::arg("left"), py::arg("last"), py::arg("stream") = 0, py::arg("align_corners") = true,
             py::call_guard<GilRelease>());
}

}  // namespace deeplab::interp_argmax
