#include <optional>

#include "../common/bindings.h"
#include "../common/panels.h"
#include "stem.h"

namespace deeplab::stem {
namespace {

using hole::Pair;
using Optional = std::optional<TensorView>;

void check(const TensorView& tensor, const char* name) {
  check_dtype(tensor, name, DType::kFloat32);
  check_on_cpu("stem", tensor, name);
}

void forward(const TensorView& x, const TensorView& panels, const Optional& bias, const TensorView& y,
             const Pair& stride, const Pair& pad, bool relu, double ceiling) {
  check(x, "x");
  check(panels, "panels");
  check(y, "y");
  check_dim(x, "x", 4);
  check_dim(panels, "panels", 5);
  check_contiguous(panels, "panels");
  check_channels_last(y, "y");
  const Pair kernel{panels.size(1), panels.size(2)};
  check_sizes(panels, "panels", {panels_of(y.size(1)), kernel[0], kernel[1], x.size(1), kPanel});
  const Geometry geometry = hole::make_geometry("stem", x, kernel, stride, pad, {1, 1});
  check_sizes(y, "y", {x.size(0), y.size(1), geometry.y.out, geometry.x.out});
  if (bias) {
    check(*bias, "bias");
    check_sizes(*bias, "bias", {y.size(1)});
    check_contiguous(*bias, "bias");
  }
  forward_cpu(x, panels, bias ? &*bias : nullptr, y, geometry, relu, static_cast<float>(ceiling));
}

}  // namespace

void bind(py::module_& module) {
  module.attr("stem_panel") = kPanel;
  module.def("stem_forward", &forward, py::arg("x"), py::arg("panels"), py::arg("bias"), py::arg("y"),
             py::arg("stride"), py::arg("pad"), py::arg("relu"), py::arg("ceiling"), py::call_guard<GilRelease>());
}

}  // namespace deeplab::stem
