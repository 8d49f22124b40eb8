#include <optional>

#include "../common/bindings.h"
#include "../hole/hole.h"
#include "product.h"
#include "winograd.h"

namespace deeplab::winograd {
namespace {

using hole::Pair;
using Optional = std::optional<TensorView>;

void check(const TensorView& tensor, const char* name) {
  check_dtype(tensor, name, DType::kFloat32);
  check_on_cpu("winograd", tensor, name);
}

void check_tile(int64_t tile) { DEEPLAB_CHECK(tile == 2 || tile == 4, "winograd: expected tile 2 or 4, got ", tile); }

std::vector<int64_t> transformed_sizes(int64_t tile, int64_t outputs, int64_t channels) {
  return {tile_inputs(tile) * tile_inputs(tile), panels_of(outputs), channels, kPanel};
}

void transform_weight(const TensorView& weight, const TensorView& transformed, int64_t tile) {
  check_tile(tile);
  check(weight, "weight");
  check(transformed, "transformed");
  check_dim(weight, "weight", 4);
  check_sizes(weight, "weight", {weight.size(0), weight.size(1), kKernel, kKernel});
  check_sizes(transformed, "transformed", transformed_sizes(tile, weight.size(0), weight.size(1)));
  check_contiguous(weight, "weight");
  check_contiguous(transformed, "transformed");
  transform_weight_cpu(weight, transformed, tile);
}

void forward(const TensorView& x, const TensorView& transformed, const Optional& bias, const Optional& other,
             const TensorView& y, int64_t tile, const Pair& pad, const Pair& dilation, bool relu, double ceiling) {
  check_tile(tile);
  check(x, "x");
  check(transformed, "transformed");
  check(y, "y");
  check_channels_last(x, "x");
  check_channels_last(y, "y");
  const int64_t channels = x.size(1), outputs = y.size(1);
  DEEPLAB_CHECK(channels >= kPanel, "winograd: expected at least ", kPanel, " channels, got ", x.describe());
  check_sizes(transformed, "transformed", transformed_sizes(tile, outputs, channels));
  check_contiguous(transformed, "transformed");
  const hole::Geometry geometry = hole::make_geometry("winograd", x, {kKernel, kKernel}, {1, 1}, pad, dilation);
  check_sizes(y, "y", {x.size(0), outputs, geometry.y.out, geometry.x.out});
  if (bias) {
    check(*bias, "bias");
    check_sizes(*bias, "bias", {outputs});
    check_contiguous(*bias, "bias");
  }
  if (other) {
    check(*other, "other");
    check_sizes(*other, "other", y.sizes);
    check_channels_last(*other, "other");
  }
  const Epilogue epilogue{bias ? bias->ptr<const float>() : nullptr, other ? other->ptr<const float>() : nullptr, relu,
                          static_cast<float>(ceiling)};
  forward_cpu(x, transformed, y, geometry.y, geometry.x, tile, epilogue);
}

}  // namespace

void bind(py::module_& module) {
  module.attr("winograd_panel") = kPanel;
  module.def("winograd_transform_weight", &transform_weight, py::arg("weight"), py::arg("transformed"), py::arg("tile"),
             py::call_guard<GilRelease>());
  module.def("winograd_forward", &forward, py::arg("x"), py::arg("transformed"), py::arg("bias"), py::arg("other"),
             py::arg("y"), py::arg("tile"), py::arg("pad"), py::arg("dilation"), py::arg("relu"), py::arg("ceiling"),
             py::call_guard<GilRelease>());
  module.def("winograd_kept_bytes", &kept_bytes, "Return the bytes that are kept for the next call.");
  module.def("winograd_clear_kept", &clear_kept, "Give them back.");
}

}  // namespace deeplab::winograd
