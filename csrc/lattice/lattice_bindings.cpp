#include <algorithm>
#include <limits>
#include <optional>

#include "../common/bindings.h"
#include "filter.h"
#include "lattice.h"

namespace deeplab::lattice {
namespace {

std::shared_ptr<Lattice> build(const TensorView& features, bool sse_padding,
                               std::optional<std::shared_ptr<Workspace>> workspace) {
  check_dim(features, "features", 2);
  check_dtype(features, "features", DType::kFloat32);
  DEEPLAB_CHECK(features.on_cpu(), "features: expected a tensor on cpu, got ", features.describe());
  DEEPLAB_CHECK(features.size(0) >= 1 && features.size(0) < std::numeric_limits<int32_t>::max(),
                "features: expected between 1 and 2^31 - 2 points, got ", features.describe());
  DEEPLAB_CHECK(features.size(1) >= 1 && features.size(1) <= kMaxDims, "features: expected between 1 and ", kMaxDims,
                " dimensions, got ", features.describe());
  const WorkspaceScope scope(workspace.value_or(nullptr));
  const auto lattice = std::const_pointer_cast<Lattice>(build_cpu(features, sse_padding));
  lattice->workspace = scope.current();
  return lattice;
}

void filter(const Lattice& lattice, const TensorView& values, const TensorView& out, bool adjoint,
            std::optional<std::shared_ptr<Workspace>> workspace) {
  check_dim(values, "values", 2);
  DEEPLAB_CHECK(values.dtype == DType::kFloat32 || values.dtype == DType::kFloat64,
                "values: expected float32 or float64, got ", values.describe());
  DEEPLAB_CHECK(values.on_cpu(), "values: expected a tensor on cpu, got ", values.describe());
  DEEPLAB_CHECK(values.size(0) == lattice.points, "values: expected one row for each of the lattice's ", lattice.points,
                " points, got ", values.describe());
  check_sizes(out, "out", values.sizes);
  check_same_dtype_and_device(values, "values", out, "out");
  check_contiguous(out, "out");
  const WorkspaceScope scope(workspace.value_or(lattice.workspace));
  if (values.size(1) > 0) filter_cpu(lattice, values, out, adjoint);
}

void check_copy(const TensorView& out, DType dtype, int64_t count) {
  check_dtype(out, "out", dtype);
  DEEPLAB_CHECK(out.on_cpu(), "out: expected a tensor on cpu, got ", out.describe());
  check_contiguous(out, "out");
  DEEPLAB_CHECK(out.numel() == count, "out: expected ", count, " elements, got ", out.describe());
}

void copy_keys(const Lattice& lattice, const TensorView& out) {
  check_copy(out, DType::kInt32, lattice.keys.size());
  std::copy_n(lattice.keys.data(), lattice.keys.size(), out.ptr<int32_t>());
}

// From blocks to (points, dims + 1).
template <typename T>
void copy_corners(const Lattice& lattice, const AlignedBuffer<T>& source, const TensorView& out, DType dtype) {
  const int64_t corners = lattice.dims + 1;
  check_copy(out, dtype, lattice.points * corners);
  T* target = out.ptr<T>();
  for (int64_t point = 0; point < lattice.points; ++point) {
    const int64_t first = first_corner(point, corners);
    for (int64_t r = 0; r < corners; ++r) *target++ = source[first + r * kBlock];
  }
}

}  // namespace

void bind(py::module_& module) {
  module.attr("lattice_max_dims") = kMaxDims;
  py::class_<Lattice, std::shared_ptr<Lattice>>(module, "Lattice")
      .def_static("build", &build, py::arg("features"), py::arg("sse_padding"), py::arg("workspace") = py::none(),
                  py::call_guard<GilRelease>(), "Build a lattice; its buffers come from the workspace.")
      .def_readonly("dims", &Lattice::dims)
      .def_readonly("points", &Lattice::points)
      .def_readonly("vertices", &Lattice::vertices)
      .def_property_readonly("nbytes", &Lattice::bytes)
      .def("filter", &filter, py::arg("values"), py::arg("out"), py::arg("adjoint") = false,
           py::arg("workspace") = py::none(), py::call_guard<GilRelease>(),
           "Filter values; buffers come from the workspace, or from the one that the lattice was built in.")
      .def("copy_keys", &copy_keys, py::arg("out"))
      .def(
          "copy_point_vertex",
          [](const Lattice& lattice, const TensorView& out) {
            copy_corners(lattice, lattice.point_vertex, out, DType::kInt32);
          },
          py::arg("out"))
      .def(
          "copy_point_weight",
          [](const Lattice& lattice, const TensorView& out) {
            copy_corners(lattice, lattice.point_weight, out, DType::kFloat32);
          },
          py::arg("out"));
  module.def("lattice_min_bytes", &Lattice::min_bytes, py::arg("points"), py::arg("dims"),
             "Return the least bytes that a lattice of so many points takes, before its vertices are counted.");
  module.def(
      "lattice_value_bytes",
      [](int64_t vertices, int64_t channels) { return VertexValues::bytes(vertices, padded_width(channels)); },
      py::arg("vertices"), py::arg("channels"));
}

}  // namespace deeplab::lattice
