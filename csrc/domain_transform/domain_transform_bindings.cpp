#include <algorithm>
#include <cmath>
#include <optional>

#include "../common/bindings.h"
#include "domain_transform.h"

namespace deeplab::domain_transform {
namespace {

Problem make_problem(const TensorView& x, const TensorView& edges, const std::optional<TensorView>& sizes,
                     const Settings& settings) {
  check_dim(x, "x", 4);
  check_contiguous(x, "x");
  check_same_dtype_and_device(x, "x", edges, "edges");
  check_sizes(edges, "edges", {x.size(0), 1, x.size(2), x.size(3)});
  check_contiguous(edges, "edges");
  if (sizes) {
    check_dtype(*sizes, "sizes", DType::kFloat32);
    check_sizes(*sizes, "sizes", {x.size(0), 2});
    check_contiguous(*sizes, "sizes");
    DEEPLAB_CHECK(sizes->device == x.device, "sizes: expected the device of x, got ", sizes->describe());
    DEEPLAB_CHECK(std::max(x.size(2), x.size(3)) <= kMostOfSize, "sizes: ", x.describe(), " is too large for them");
  }
  DEEPLAB_CHECK(settings.iterations >= 1 && settings.iterations <= kMostIterations,
                "domain_transform: iterations must be from 1 to ", kMostIterations, ", got ", settings.iterations);
  DEEPLAB_CHECK(settings.spatial_sigma > 0 && std::isfinite(settings.spatial_sigma) && settings.range_sigma > 0 &&
                    std::isfinite(settings.range_sigma),
                "domain_transform: spatial_sigma and range_sigma must be positive and finite, got ",
                settings.spatial_sigma, " and ", settings.range_sigma);
  DEEPLAB_CHECK(settings.min_weight >= 0, "domain_transform: min_weight must not be negative, got ",
                settings.min_weight);
  return {x, edges, sizes ? sizes->ptr<const float>() : nullptr, settings};
}

void check_like(const TensorView& tensor, const char* name, const TensorView& x, const std::vector<int64_t>& sizes) {
  check_same_dtype_and_device(x, "x", tensor, name);
  check_sizes(tensor, name, sizes);
  check_contiguous(tensor, name);
}

void forward(const TensorView& x, const TensorView& edges, const std::optional<TensorView>& sizes,
             const TensorView& output, int64_t iterations, double spatial_sigma, double range_sigma, double min_weight,
             bool clamp, uintptr_t stream) {
  const Problem problem = make_problem(x, edges, sizes, {iterations, spatial_sigma, range_sigma, min_weight, clamp});
  check_like(output, "output", x, x.sizes);
  DEEPLAB_DISPATCH_DEVICE(x, forward, problem, output);
}

void backward(const TensorView& x, const TensorView& edges, const std::optional<TensorView>& sizes,
              const TensorView& grad, const TensorView& grad_x, const TensorView& grad_edges, const TensorView& scratch,
              int64_t iterations, double spatial_sigma, double range_sigma, double min_weight, bool clamp,
              uintptr_t stream) {
  const Problem problem = make_problem(x, edges, sizes, {iterations, spatial_sigma, range_sigma, min_weight, clamp});
  check_like(grad, "grad", x, x.sizes);
  check_like(grad_x, "grad_x", x, x.sizes);
  check_like(grad_edges, "grad_edges", x, edges.sizes);
  check_dim(scratch, "scratch", 1);
  check_like(scratch, "scratch", x, scratch.sizes);
  DEEPLAB_DISPATCH_DEVICE(x, backward, problem, grad, grad_x, grad_edges, scratch);
}

int64_t scratch_of(const TensorView& x, int64_t iterations) {
  check_dim(x, "x", 4);
  return backward_scratch({x, x, nullptr, {iterations, 1, 1, 0, true}});
}

}  // namespace

void bind(py::module_& module) {
  module.def("domain_transform_forward", &forward, py::arg("x"), py::arg("edges"), py::arg("sizes"), py::arg("output"),
             py::arg("iterations"), py::arg("spatial_sigma"), py::arg("range_sigma"), py::arg("min_weight"),
             py::arg("clamp"), py::arg("stream") = 0, py::call_guard<GilRelease>());
  module.def("domain_transform_backward", &backward, py::arg("x"), py::arg("edges"), py::arg("sizes"), py::arg("grad"),
             py::arg("grad_x"), py::arg("grad_edges"), py::arg("scratch"), py::arg("iterations"),
             py::arg("spatial_sigma"), py::arg("range_sigma"), py::arg("min_weight"), py::arg("clamp"),
             py::arg("stream") = 0, py::call_guard<GilRelease>());
  module.def(
      "domain_transform_scratch", &scratch_of, py::arg("x"), py::arg("iterations"),
      "Numbers of the dtype that the backward pass wants as `scratch`; with fewer it takes fewer planes at once.");
}

}  // namespace deeplab::domain_transform
