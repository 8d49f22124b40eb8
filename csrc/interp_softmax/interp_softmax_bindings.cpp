#include "../common/bindings.h"
#include "../interp/window_check.h"
#include "interp_softmax.h"

namespace deeplab::interp_softmax {
namespace {

void probabilities(const TensorView& scores, const TensorView& probabilities, int64_t height, int64_t width,
                   int64_t top, int64_t left, uintptr_t stream, bool align_corners) {
  check_dim(probabilities, "probabilities", 4);
  const interp::Window window{top, left, probabilities.size(2), probabilities.size(3)};
  interp::check_window(scores, height, width, window);
  check_dtype(probabilities, "probabilities", scores.dtype == DType::kFloat64 ? DType::kFloat64 : DType::kFloat32);
  DEEPLAB_CHECK(scores.device == probabilities.device, "scores and probabilities: expected one device, got ",
                scores.describe(), " and ", probabilities.describe());
  DEEPLAB_CHECK(scores.size(0) == probabilities.size(0) && scores.size(1) == probabilities.size(1),
                "scores and probabilities: expected equal N and C, got ", scores.describe(), " and ",
                probabilities.describe());
  check_contiguous(probabilities, "probabilities");
  DEEPLAB_DISPATCH_DEVICE(scores, probabilities, scores, probabilities, height, width, window, align_corners);
}

}  // namespace

void bind(py::module_& module) {
  module.def("interp_softmax", &probabilities, py::arg("scores"), py::arg("probabilities"), py::arg("height"),
             py::arg("width"), py::arg("top"), py::arg("left"), py::arg("stream") = 0, py::arg("align_corners") = true,
             py::call_guard<GilRelease>());
}

}  // namespace deeplab::interp_softmax
