// The mean field on a GPU, for deeplab_caffe/crf/cuda.py, which allocates their memory.
#include "../common/bindings.h"
#include "../lattice/filter_cuda.h"
#include "../lattice/lattice_cuda.h"
#include "mean_field_cuda.h"

namespace deeplab::mean_field {
namespace {

using lattice::CudaLattice;

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
  DEEPLAB_CHECK(costs->device == lattice.device() && costs->is_aligned(),
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

void run(const std::vector<std::shared_ptr<CudaMeanField>>& fields, int64_t iterations, uintptr_t stream) {
  DEEPLAB_CHECK(iterations >= 0, "iterations: expected 0 or more, got ", iterations);
  run_cuda(fields, iterations, stream);
}

std::unique_ptr<Energies> energies(CudaMeanField& field, const TensorView& scratch, uintptr_t stream) {
  return owned(field.energies(scratch, stream));
}

}  // namespace

void bind_cuda(py::module_& module) {
  using release = py::call_guard<GilRelease>;
  py::class_<CudaMeanField, std::shared_ptr<CudaMeanField>>(module, "CudaMeanField")
      .def(py::init(&make), py::arg("device"), py::arg("height"), py::arg("width"), py::arg("channels"),
           py::arg("kernels"), py::arg("half"))
      .def_property_readonly("workspace_bytes", &CudaMeanField::workspace_bytes)
      .def("start", &CudaMeanField::start, py::arg("scores"), py::arg("probabilities"), py::arg("workspace"),
           py::arg("stream"), release())
      .def("marginals", &CudaMeanField::marginals, py::arg("out"), py::arg("logarithm"), py::arg("stream"), release())
      .def("set_marginals", &CudaMeanField::set_marginals, py::arg("q"), py::arg("stream"), release())
      .def_property_readonly("energy_bytes", &CudaMeanField::energy_bytes)
      .def("energies", &energies, py::arg("scratch"), py::arg("stream"), release());
  module.def("run_mean_fields", &run, py::arg("fields"), py::arg("iterations"), py::arg("stream"), release());
  module.def("inspect_scores", &inspect_scores, py::arg("scores"), py::arg("probabilities"), py::arg("faults"),
             py::arg("stream"), release());
  module.def("read_faults", &read_faults, py::arg("faults"), py::arg("stream"), release());
}

}  // namespace deeplab::mean_field
