// The lattice on a GPU, for deeplab_caffe/crf/cuda_lattice.py, which allocates its memory.
#include "../common/bindings.h"
#include "../common/device_runtime.h"
#include "filter_cuda.h"
#include "lattice_cuda.h"

namespace deeplab::lattice {
namespace {

using Ranges = std::vector<std::pair<float, float>>;
using Lattices = std::vector<std::shared_ptr<CudaLattice>>;

void check_lattices(const Lattices& lattices, const TensorView& values) {
  check_dim(values, "values", 3);
  check_dtype(values, "values", DType::kFloat32);
  DEEPLAB_CHECK(values.size(0) == static_cast<int64_t>(lattices.size()), "values: expected one item for each of ",
                lattices.size(), " lattices, got ", values.describe());
  for (const auto& lattice : lattices) {
    DEEPLAB_CHECK(lattice != nullptr, "expected lattices, got None");
    DEEPLAB_CHECK(values.size(1) == lattice->points() && values.device == lattice->device(),
                  "values: expected one row for each of the lattice's ", lattice->points(),
                  " points on cuda:", lattice->device(), ", got ", values.describe());
  }
}

void filter(const Lattices& lattices, const TensorView& values, const TensorView& out, bool adjoint,
            const TensorView& workspace, uintptr_t stream) {
  check_lattices(lattices, values);
  check_sizes(out, "out", values.sizes);
  check_same_dtype_and_device(values, "values", out, "out");
  check_contiguous(out, "out");
  filter_cuda(lattices, values, out, adjoint, workspace, stream);
}

std::shared_ptr<CudaLattice> make(int device, int64_t height, int64_t width, bool positions,
                                  const std::vector<float>& divisors, const Ranges& ranges, bool sse_padding) {
  return std::make_shared<CudaLattice>(device, height, width, positions, divisors, ranges, sse_padding);
}

}  // namespace

void bind_cuda(py::module_& module) {
  using release = py::call_guard<GilRelease>;
  py::class_<CudaLattice, std::shared_ptr<CudaLattice>>(module, "CudaLattice")
      .def(py::init(&make), py::arg("device"), py::arg("height"), py::arg("width"), py::arg("positions"),
           py::arg("divisors"), py::arg("ranges"), py::arg("sse_padding"))
      .def_property_readonly("points", &CudaLattice::points)
      .def_property_readonly("dims", &CudaLattice::dims)
      .def_property_readonly("key_bits", &CudaLattice::key_bits)
      .def_property_readonly("max_vertices", &CudaLattice::max_vertices)
      .def_property_readonly("nbytes", &CudaLattice::bytes)
      .def_property_readonly("scratch_bytes", &CudaLattice::scratch_bytes)
      .def("table_bytes", &CudaLattice::table_bytes, py::arg("capacity"))
      .def_property_readonly("norm_workspace_bytes",
                             [](const std::shared_ptr<CudaLattice>& self) { return filter_workspace_bytes({self}, 1); })
      .def("build", &CudaLattice::build, py::arg("image").none(true), py::arg("memory"), py::arg("scratch"),
           py::arg("stream"), release())
      .def("connect", &CudaLattice::connect, py::arg("table"), py::arg("capacity"), py::arg("stream"), release())
      .def("copy_keys", &CudaLattice::copy_keys, py::arg("out"), py::arg("stream"), release())
      .def("norm", &norm_cuda, py::arg("root"), py::arg("out"), py::arg("workspace"), py::arg("stream"), release());
  module.def(
      "cuda_filter_bytes",
      [](const Lattices& lattices, const TensorView& values) {
        check_lattices(lattices, values);
        return filter_workspace_bytes(lattices, values.size(2));
      },
      py::arg("lattices"), py::arg("values"), "Bytes of the workspace that cuda_filter takes.");
  module.def("cuda_filter", &filter, py::arg("lattices"), py::arg("values"), py::arg("out"), py::arg("adjoint"),
             py::arg("workspace"), py::arg("stream"), release());
  module.def("count_vertices", &count_vertices, py::arg("lattices"), py::arg("stream"), release());
  module.def("channel_ranges", &channel_ranges, py::arg("image"), py::arg("scratch"), py::arg("stream"), release());
  module.def("is_capturing", &deeplab::is_capturing, py::arg("device"), py::arg("stream"), release());
}

}  // namespace deeplab::lattice
