#include <limits>

#include "../common/bindings.h"
#include "hole.h"

namespace deeplab::hole {

Geometry make_geometry(const char* operation, const TensorView& image, const Pair& kernel, const Pair& stride,
                       const Pair& pad, const Pair& dilation) {
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  Axis axes[2];
  for (int axis = 0; axis < 2; ++axis) {
    const char* name = axis == 0 ? "height" : "width";
    DEEPLAB_CHECK(kernel[axis] >= 1 && stride[axis] >= 1 && dilation[axis] >= 1 && pad[axis] >= 0, operation,
                  ": along the ", name,
                  ", expected kernel, stride and dilation of at least 1 and pad of at least 0, got kernel ",
                  kernel[axis], ", pad ", pad[axis], ", stride ", stride[axis], ", dilation ", dilation[axis]);
    DEEPLAB_CHECK(kernel[axis] <= kMost && stride[axis] <= kMost && dilation[axis] <= kMost && pad[axis] <= kMost,
                  operation, ": along the ", name, ", kernel, stride, pad or dilation is over ", kMost);
    const int64_t in = image.size(2 + axis);
    axes[axis] = {in,           output_size(in, kernel[axis], pad[axis], stride[axis], dilation[axis]),
                  kernel[axis], pad[axis],
                  stride[axis], dilation[axis]};
    DEEPLAB_CHECK(axes[axis].out >= 1, operation, ": a kernel of ", kernel[axis], " with dilation ", dilation[axis],
                  " does not fit into the ", name, " ", in, " with pad ", pad[axis]);
  }
  return {axes[0], axes[1]};
}

namespace {

// Checks the tensors' sizes against the rule, so that no kernel reads past an end.
Geometry check_geometry(const TensorView& image, const char* image_name, const TensorView& columns, const Pair& kernel,
                        const Pair& stride, const Pair& pad, const Pair& dilation) {
  check_dim(image, image_name, 4);
  check_dim(columns, "columns", 4);
  check_same_dtype_and_device(image, image_name, columns, "columns");
  const Geometry geometry = make_geometry("im2col", image, kernel, stride, pad, dilation);
  check_sizes(columns, "columns",
              {image.size(0), product({image.size(1), kernel[0], kernel[1]}), geometry.y.out, geometry.x.out});
  return geometry;
}

void im2col(const TensorView& input, const TensorView& columns, const Pair& kernel, const Pair& stride, const Pair& pad,
            const Pair& dilation, uintptr_t stream) {
  const Geometry geometry = check_geometry(input, "input", columns, kernel, stride, pad, dilation);
  check_contiguous(columns, "columns");
  DEEPLAB_DISPATCH_DEVICE(input, im2col, input, columns, geometry);
}

void col2im(const TensorView& columns, const TensorView& output, const Pair& kernel, const Pair& stride,
            const Pair& pad, const Pair& dilation, uintptr_t stream) {
  const Geometry geometry = check_geometry(output, "output", columns, kernel, stride, pad, dilation);
  check_contiguous(columns, "columns");
  check_contiguous(output, "output");
  DEEPLAB_DISPATCH_DEVICE(output, col2im, columns, output, geometry);
}

}  // namespace

void bind(py::module_& module) {
  module.def("im2col", &im2col, py::arg("input"), py::arg("columns"), py::arg("kernel"), py::arg("stride"),
             py::arg("pad"), py::arg("dilation"), py::arg("stream") = 0, py::call_guard<GilRelease>());
  module.def("col2im", &col2im, py::arg("columns"), py::arg("output"), py::arg("kernel"), py::arg("stride"),
             py::arg("pad"), py::arg("dilation"), py::arg("stream") = 0, py::call_guard<GilRelease>());
}

}  // namespace deeplab::hole
