#include <optional>

#include "../common/bindings.h"
#include "depthwise.h"

namespace deeplab::depthwise {
namespace {

using hole::Pair;
using Optional = std::optional<TensorView>;

void check_like(const TensorView& tensor, const char* name, const TensorView& x, const std::vector<int64_t>& sizes) {
  check_same_dtype_and_device(x, "x", tensor, name);
  check_sizes(tensor, name, sizes);
  check_contiguous(tensor, name);
}

// Checks that the tensors' sizes agree with the rule, so that no loop reads out of bounds.
Geometry check_geometry(const TensorView& x, const TensorView& weight, const TensorView& y, const char* y_name,
                        const Pair& stride, const Pair& pad, const Pair& dilation) {
  check_dim(x, "x", 4);
  check_contiguous(x, "x");
  check_on_cpu("depthwise_conv2d", x, "x");
  check_dim(weight, "weight", 4);
  check_like(weight, "weight", x, {x.size(1), 1, weight.size(2), weight.size(3)});
  const Geometry geometry =
      hole::make_geometry("depthwise_conv2d", x, {weight.size(2), weight.size(3)}, stride, pad, dilation);
  check_like(y, y_name, x, {x.size(0), x.size(1), geometry.y.out, geometry.x.out});
  return geometry;
}

const TensorView* address(const Optional& tensor) { return tensor ? &*tensor : nullptr; }

void forward(const TensorView& x, const TensorView& weight, const Optional& bias, const TensorView& y,
             const Pair& stride, const Pair& pad, const Pair& dilation) {
  const Geometry geometry = check_geometry(x, weight, y, "y", stride, pad, dilation);
  if (bias) check_like(*bias, "bias", x, {x.size(1)});
  forward_cpu(x, weight, address(bias), y, geometry);
}

void forward_channels_last(const TensorView& x, const TensorView& taps, const Optional& bias, const TensorView& y,
                           const Pair& stride, const Pair& pad, const Pair& dilation, bool relu, double ceiling) {
  check_dim(x, "x", 4);
  check_dtype(x, "x", DType::kFloat32);
  check_on_cpu("depthwise_conv2d", x, "x");
  check_channels_last(x, "x");
  check_dim(taps, "taps", 3);
  check_like(taps, "taps", x, {taps.size(0), taps.size(1), x.size(1)});
  if (bias) check_like(*bias, "bias", x, {x.size(1)});
  const Geometry geometry =
      hole::make_geometry("depthwise_conv2d", x, {taps.size(0), taps.size(1)}, stride, pad, dilation);
  check_same_dtype_and_device(x, "x", y, "y");
  check_sizes(y, "y", {x.size(0), x.size(1), geometry.y.out, geometry.x.out});
  check_channels_last(y, "y");
  forward_channels_last_cpu(x, taps, address(bias), y, geometry, relu, static_cast<float>(ceiling));
}

void backward(const TensorView& grad, const TensorView& x, const TensorView& weight, const Optional& grad_x,
              const Optional& grad_weight, const Pair& stride, const Pair& pad, const Pair& dilation) {
  const Geometry geometry = check_geometry(x, weight, grad, "grad", stride, pad, dilation);
  if (grad_x) check_like(*grad_x, "grad_x", x, x.sizes);
  if (grad_weight) check_like(*grad_weight, "grad_weight", x, weight.sizes);
  backward_cpu(grad, x, weight, address(grad_x), address(grad_weight), geometry);
}

}  // namespace

void bind(py::module_& module) {
  module.def("depthwise_forward", &forward, py::arg("x"), py::arg("weight"), py::arg("bias"), py::arg("y"),
             py::arg("stride"), py::arg("pad"), py::arg("dilation"), py::call_guard<GilRelease>());
  module.def("depthwise_forward_channels_last", &forward_channels_last, py::arg("x"), py::arg("taps"), py::arg("bias"),
             py::arg("y"), py::arg("stride"), py::arg("pad"), py::arg("dilation"), py::arg("relu"), py::arg("ceiling"),
             py::call_guard<GilRelease>());
  module.def("depthwise_backward", &backward, py::arg("grad"), py::arg("x"), py::arg("weight"), py::arg("grad_x"),
             py::arg("grad_weight"), py::arg("stride"), py::arg("pad"), py::arg("dilation"),
             py::call_guard<GilRelease>());
}

}  // namespace deeplab::depthwise
