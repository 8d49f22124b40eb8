#include "../common/bindings.h"
#include "mean_field.h"

namespace deeplab::mean_field {
namespace {

using lattice::Lattice;

std::unique_ptr<MeanField> make(const TensorView& scores,
                                const std::vector<std::pair<std::shared_ptr<Lattice>, float>>& kernels,
                                bool probabilities) {
  check_dim(scores, "scores", 2);
  check_dtype(scores, "scores", DType::kFloat32);
  DEEPLAB_CHECK(scores.on_cpu(), "scores: expected a tensor on cpu, got ", scores.describe());
  DEEPLAB_CHECK(scores.numel() > 0, "scores: expected at least one label and one pixel, got ", scores.describe());
  std::vector<Kernel> checked;
  for (const auto& [lattice, weight] : kernels) {
    DEEPLAB_CHECK(lattice != nullptr && lattice->points == scores.size(1), "kernel ", checked.size(),
                  ": expected a lattice of ", scores.size(1), " points");
    checked.push_back({lattice, weight});
  }
  const py::gil_scoped_release release;  // not as a call_guard: that would cover the registration of the new object too
  return std::make_unique<MeanField>(scores, std::move(checked), probabilities);
}

void run(MeanField& field, int64_t iterations) {
  DEEPLAB_CHECK(iterations >= 0, "iterations: expected 0 or more, got ", iterations);
  field.run(iterations);
}

void marginals(const MeanField& field, const TensorView& out, bool logarithm) {
  check_sizes(out, "out", {field.channels(), field.points()});
  check_dtype(out, "out", DType::kFloat32);
  check_contiguous(out, "out");
  DEEPLAB_CHECK(out.on_cpu(), "out: expected a tensor on cpu, got ", out.describe());
  field.marginals(out, logarithm);
}

}  // namespace

void bind(py::module_& module) {
  py::class_<MeanField>(module, "MeanField")
      .def(py::init(&make), py::arg("scores"), py::arg("kernels"), py::arg("probabilities") = false)
      .def_property_readonly("iterations", &MeanField::iterations)
      .def("run", &run, py::arg("iterations"), py::call_guard<py::gil_scoped_release>())
      .def("marginals", &marginals, py::arg("out"), py::arg("logarithm") = false,
           py::call_guard<py::gil_scoped_release>());
  module.def("mean_field_bytes", &MeanField::bytes, py::arg("points"), py::arg("channels"), py::arg("kernels"),
             "Bytes of an inference without its lattices and the values on them.");
}

}  // namespace deeplab::mean_field
