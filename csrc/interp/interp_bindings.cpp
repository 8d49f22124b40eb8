#include <algorithm>

#include "../common/bindings.h"
#include "interp.h"

namespace deeplab::interp {
namespace {

void check_geometry(const TensorView& small, const char* small_name, const TensorView& large, const char* large_name,
                    int64_t pad_beg, int64_t pad_end) {
  check_dim(small, small_name, 4);
  check_dim(large, large_name, 4);
  check_same_dtype_and_device(small, small_name, large, large_name);
  DEEPLAB_CHECK(small.size(0) == large.size(0) && small.size(1) == large.size(1), small_name, " and ", large_name,
                ": expected equal N and C, got ", small.describe(), " and ", large.describe());
  DEEPLAB_CHECK(pad_beg <= 0 && pad_end <= 0, "interp: pad_beg and pad_end must not be positive, got ", pad_beg,
                " and ", pad_end);
  const int64_t least = std::min(small.size(2), small.size(3));
  DEEPLAB_CHECK(pad_beg > -least && pad_end > -(least + pad_beg), "interp: padding ", pad_beg, " and ", pad_end,
                " leaves nothing of ", small.describe());
}

void forward(const TensorView& input, const TensorView& output, int64_t pad_beg, int64_t pad_end, uintptr_t stream,
             bool align_corners) {
  check_geometry(input, "input", output, "output", pad_beg, pad_end);
  check_contiguous(output, "output");
  DEEPLAB_DISPATCH_DEVICE(input, forward, input, output, -pad_beg, -pad_end, align_corners);
}

void backward(const TensorView& grad_output, const TensorView& grad_input, int64_t pad_beg, int64_t pad_end,
              uintptr_t stream, bool align_corners) {
  check_geometry(grad_input, "grad_input", grad_output, "grad_output", pad_beg, pad_end);
  check_contiguous(grad_output, "grad_output");
  check_contiguous(grad_input, "grad_input");
  DEEPLAB_DISPATCH_DEVICE(grad_input, backward, grad_output, grad_input, -pad_beg, -pad_end, align_corners);
}

}  // namespace

void bind(py::module_& module) {
  module.def("interp_forward", &forward, py::arg("input"), py::arg("output"), py::arg("pad_beg"), py::arg("pad_end"),
             py::arg("stream") = 0, py::arg("align_corners") = true, py::call_guard<GilRelease>());
  module.def("interp_backward", &backward, py::arg("grad_output"), py::arg("grad_input"), py::arg("pad_beg"),
             py::arg("pad_end"), py::arg("stream") = 0, py::arg("align_corners") = true, py::call_guard<GilRelease>());
}

}  // namespace deeplab::interp
