#include <algorithm>
#include <limits>

#include "../common/bindings.h"
#include "max_pool.h"

namespace deeplab::max_pool {
namespace {

Axis make_axis(const TensorView& input, const TensorView& output, int axis, int64_t kernel, int64_t stride,
               int64_t pad) {
  DEEPLAB_CHECK(kernel >= 1 && stride >= 1 && pad >= 0,
                "max_pool: expected a positive kernel and stride and no negative pad, got ", kernel, ", ", stride,
                " and ", pad);
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  DEEPLAB_CHECK(pad <= kMost, "max_pool: expected a pad of at most ", kMost, ", got ", pad);
  // A kernel or stride longer than the padded image reaches beyond its end; how far makes no difference.
  const int64_t most = pad + input.size(axis) + 1;
  return {input.size(axis), output.size(axis), std::min(kernel, most), pad, std::min(stride, most), 1};
}

using Pair = std::pair<int64_t, int64_t>;

void forward(const TensorView& input, const TensorView& output, Pair kernel, Pair stride, Pair pad, uintptr_t stream) {
  check_channels_last(input, "input");
  check_channels_last(output, "output");
  check_same_dtype_and_device(input, "input", output, "output");
  check_sizes(output, "output", {input.size(0), input.size(1), output.size(2), output.size(3)});
  const Axis rows = make_axis(input, output, 2, kernel.first, stride.first, pad.first);
  const Axis columns = make_axis(input, output, 3, kernel.second, stride.second, pad.second);
  DEEPLAB_DISPATCH_DEVICE(input, forward, input, output, rows, columns);
}

}  // namespace

void bind(py::module_& module) {
  module.def("max_pool", &forward, py::arg("input"), py::arg("output"), py::arg("kernel"), py::arg("stride"),
             py::arg("pad"), py::arg("stream") = 0, py::call_guard<GilRelease>());
}

}  // namespace deeplab::max_pool
