// The lattice and mean field on a GPU, for deeplab_caffe/crf/cuda.py, which allocates their memory.
#include "../common/bindings.h"
#include "../lattice/filter_cuda.h"
#include "../lattice/lattice_cuda.h"
#include "mean_field_cuda.h"

namespace deeplab::mean_field {
namespace {

using lattice::CudaLattice;
using Ranges = std::vector<std::pair<float, float>>;

// Norms of a kernel: (points) on its device, or none.
const float* norm_of(const TensorView* norm, const CudaLattice& lattice, const char* name) {
  if (!norm) return nullptr;
  check_sizes(*norm, name, {lattice.points()});
  check_dtype(*norm, name, DType::kFloat32);
  check_contiguous(*norm, name);
  DEEPLAB_CHECK(norm->device == lattice.device(), name, ": expected a tensor on cuda:", lattice.device(), ", got ",
                norm->describe());
  return norm->ptr<const float>();
}

// Costs of a kernel: (1 or row, row) on its device, or none.
const float* costs_of(const TensorView* costs, const CudaLattice& lattice, int64_t channels) {
  if (!costs) return nullptr;
  check_sizes(*costs, "costs", {costs->dim() == 2 ? costs->size(0) : 1, lattice::cuda_width(channels)});
  check_dtype(*costs, "costs", DType::kFloat32);
  check_contiguous(*costs, "costs");
  DEEPLAB_CHECK(costs->device == lattice.device() && reinterpret_cast<uintptr_t>(costs->data) % 16 == 0,
                "costs: expected memory on cuda:", lattice.device(), ", aligned to 16 bytes, got ", costs->describe());
  return costs->ptr<const float>();
}

// lattice, weight, norms before and after, costs
using PythonKernel =
    std::tuple<std::shared_ptr<CudaLattice>, float, const TensorView*, const TensorView*, const TensorView*>;

std::shared_ptr<CudaMeanField> make(int device, int64_t height, int64_t width, int64_t channels,
                                    const std::vector<PythonKernel>& kernels, bool half) {
  std::vector<CudaKernel> checked;
  for (const auto& [lattice, weight, before, after, costs] : kernels) {
    DEEPLAB_CHECK(lattice != nullptr, "kernel ", checked.size(), ": expected a lattice, got None");
    checked.push_back({lattice, weight, norm_of(before, *lattice, "before"), norm_of(after, *lattice, "after"),
                       costs_of(costs, *lattice, channels), costs ? static_cast<int32_t>(costs->size(0)) : 0});
  }
  return std::make_shared<CudaMeanField>(device, height, width, channels, std::move(checked), half);
}

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
  lattice::filter_cuda(lattices, values, out, adjoint, workspace, stream);
}

void run(const std::vector<std::shared_ptr<CudaMeanField>>& fields, int64_t iterations, uintptr_t stream) {
  DEEPLAB_CHECK(iterations >= 0, "iterations: expected 0 or more, got ", iterations);
  run_cuda(fields, iterations, stream);
}

}  // namespace

void bind_cuda(py::module_& module) {
  using release = py::call_guard<py::gil_scoped_release>;
  py::class_<CudaLattice, std::shared_ptr<CudaLattice>>(module, "CudaLattice")
      .def(py::init<int, int64_t, int64_t, bool, const std::vector<float>&, const Ranges&, bool>(), py::arg("device"),
           py::arg("height"), py::arg("width"), py::arg("positions"), py::arg("divisors"), py::arg("ranges"),
           py::arg("sse_padding"))
      .def_property_readonly("points", &CudaLattice::points)
      .def_property_readonly("dims", &CudaLattice::dims)
      .def_property_readonly("key_bits", &CudaLattice::key_bits)
      .def_property_readonly("max_vertices", &CudaLattice::max_vertices)
      .def_property_readonly("nbytes", &CudaLattice::bytes)
      .def_property_readonly("scratch_bytes", &CudaLattice::scratch_bytes)
      .def("table_bytes", &CudaLattice::table_bytes, py::arg("capacity"))
      .def_property_readonly(
          "norm_workspace_bytes",
          [](const std::shared_ptr<CudaLattice>& self) { return lattice::filter_workspace_bytes({self}, 1); })
      .def("build", &CudaLattice::build, py::arg("image").none(true), py::arg("memory"), py::arg("scratch"),
           py::arg("stream"), release())
      .def("connect", &CudaLattice::connect, py::arg("table"), py::arg("capacity"), py::arg("stream"), release())
      .def("copy_keys", &CudaLattice::copy_keys, py::arg("out"), py::arg("stream"), release())
      .def("norm", &lattice::norm_cuda, py::arg("root"), py::arg("out"), py::arg("workspace"), py::arg("stream"),
           release());
  module.def(
      "cuda_filter_bytes",
      [](const Lattices& lattices, const TensorView& values) {
        check_lattices(lattices, values);
        return lattice::filter_workspace_bytes(lattices, values.size(2));
      },
      py::arg("lattices"), py::arg("values"), "Bytes of the workspace that cuda_filter takes.");
  module.def("cuda_filter", &filter, py::arg("lattices"), py::arg("values"), py::arg("out"), py::arg("adjoint"),
             py::arg("workspace"), py::arg("stream"), release());
  module.def("count_vertices", &lattice::count_vertices, py::arg("lattices"), py::arg("stream"), release());
  module.def("channel_ranges", &lattice::channel_ranges, py::arg("image"), py::arg("scratch"), py::arg("stream"),
             release());

  py::class_<CudaMeanField, std::shared_ptr<CudaMeanField>>(module, "CudaMeanField")
      .def(py::init(&make), py::arg("device"), py::arg("height"), py::arg("width"), py::arg("channels"),
           py::arg("kernels"), py::arg("half"))
      .def_property_readonly("workspace_bytes", &CudaMeanField::workspace_bytes)
      .def("start", &CudaMeanField::start, py::arg("scores"), py::arg("probabilities"), py::arg("workspace"),
           py::arg("stream"), release())
      .def("marginals", &CudaMeanField::marginals, py::arg("out"), py::arg("logarithm"), py::arg("stream"), release())
      .def("set_marginals", &CudaMeanField::set_marginals, py::arg("q"), py::arg("stream"), release())
      .def_property_readonly("energy_bytes", &CudaMeanField::energy_bytes)
      .def("energies", &CudaMeanField::energies, py::arg("scratch"), py::arg("stream"), release());
  module.def("run_mean_fields", &run, py::arg("fields"), py::arg("iterations"), py::arg("stream"), release());
  module.def("inspect_scores", &inspect_scores, py::arg("scores"), py::arg("probabilities"), py::arg("faults"),
             py::arg("stream"), release());
  module.def("read_faults", &read_faults, py::arg("faults"), py::arg("stream"), release());
  module.def("is_capturing", &lattice::is_capturing, py::arg("device"), py::arg("stream"), release());
}

}  // namespace deeplab::mean_field
