#include <optional>

#include "../common/bindings.h"
#include "mean_field.h"

namespace deeplab::mean_field {
namespace {

using lattice::Lattice;

// lattice, weight, where to normalise, costs (empty, C or C * C)
using KernelArguments = std::tuple<std::shared_ptr<Lattice>, float, Normalization, std::vector<float>>;

std::vector<Kernel> check_kernels(const std::vector<KernelArguments>& kernels, int64_t channels, int64_t points) {
  std::vector<Kernel> checked;
  for (const auto& [lattice, weight, normalization, costs] : kernels) {
    DEEPLAB_CHECK(lattice != nullptr && lattice->points == points, "kernel ", checked.size(),
                  ": expected a lattice of ", points, " points");
    const int64_t count = static_cast<int64_t>(costs.size()), square = product({channels, channels});
    DEEPLAB_CHECK(count == 0 || count == channels || count == square, "kernel ", checked.size(), ": expected 0, ",
                  channels, " or ", square, " costs, got ", count);
    DEEPLAB_CHECK(normalization >= Normalization::kNone && normalization <= Normalization::kSymmetric, "kernel ",
                  checked.size(), ": no normalization is numbered ", static_cast<int>(normalization));
    checked.push_back({lattice, weight, normalization, costs});
  }
  return checked;
}

std::unique_ptr<MeanField> make(int64_t channels, int64_t points, const std::vector<KernelArguments>& kernels,
                                std::optional<std::shared_ptr<Workspace>> workspace) {
  DEEPLAB_CHECK(channels > 0 && points > 0, "expected at least one label and one pixel, got ", channels, " and ",
                points);
  MeanField::bytes(points, channels, static_cast<int64_t>(kernels.size()));  // fits into 64 bits
  std::vector<Kernel> checked = check_kernels(kernels, channels, points);
  const GilRelease release;  // not as a call_guard: that would cover the registration of the new object too
  const WorkspaceScope scope(workspace.value_or(nullptr));
  return std::unique_ptr<MeanField>(::new MeanField(channels, points, std::move(checked)));
}

void check_rows(const MeanField& field, const TensorView& rows, const char* name) {
  check_sizes(rows, name, {field.channels(), field.points()});
  check_dtype(rows, name, DType::kFloat32);
  DEEPLAB_CHECK(rows.on_cpu(), name, ": expected a tensor on cpu, got ", rows.describe());
}

std::unique_ptr<MeanField> make_started(const TensorView& scores,
                                        const std::vector<std::pair<std::shared_ptr<Lattice>, float>>& kernels,
                                        bool probabilities, std::optional<std::shared_ptr<Workspace>> workspace) {
  check_dim(scores, "scores", 2);
  std::vector<KernelArguments> potts;
  for (const auto& [lattice, weight] : kernels) potts.push_back({lattice, weight, Normalization::kAfter, {}});
  std::unique_ptr<MeanField> field = make(scores.size(0), scores.size(1), potts, workspace);
  check_rows(*field, scores, "scores");
  const GilRelease release;
  field->start(scores, probabilities);
  return field;
}

void start(MeanField& field, const TensorView& scores, bool probabilities) {
  check_rows(field, scores, "scores");
  field.start(scores, probabilities);
}

void run(MeanField& field, int64_t iterations) {
  DEEPLAB_CHECK(iterations >= 0, "iterations: expected 0 or more, got ", iterations);
  field.run(iterations);
}

void marginals(const MeanField& field, const TensorView& out, bool logarithm) {
  check_rows(field, out, "out");
  check_contiguous(out, "out");
  field.marginals(out, logarithm);
}

void set_marginals(MeanField& field, const TensorView& q) {
  check_rows(field, q, "q");
  field.set_marginals(q);
}

std::unique_ptr<Energies> energies(MeanField& field) { return owned(field.energies()); }

}  // namespace

void bind(py::module_& module) {
  py::enum_<Normalization>(module, "Normalization")
      .value("NONE", Normalization::kNone)
      .value("BEFORE", Normalization::kBefore)
      .value("AFTER", Normalization::kAfter)
      .value("SYMMETRIC", Normalization::kSymmetric);
  py::class_<Energies>(module, "Energies")
      .def_readonly("entropy", &Energies::entropy)
      .def_readonly("unary", &Energies::unary)
      .def_readonly("pairwise", &Energies::pairwise);
  py::class_<MeanField>(module, "MeanField")
      .def(py::init(&make), py::arg("channels"), py::arg("points"), py::arg("kernels"),
           py::arg("workspace") = py::none())
      .def(py::init(&make_started), py::arg("scores"), py::arg("kernels"), py::arg("probabilities") = false,
           py::arg("workspace") = py::none())
      .def_property_readonly("iterations", &MeanField::iterations)
      .def("start", &start, py::arg("scores"), py::arg("probabilities") = false, py::call_guard<GilRelease>())
      .def("run", &run, py::arg("iterations"), py::call_guard<GilRelease>())
      .def("marginals", &marginals, py::arg("out"), py::arg("logarithm") = false, py::call_guard<GilRelease>())
      .def("set_marginals", &set_marginals, py::arg("q"), py::call_guard<GilRelease>())
      .def("energies", &energies, py::call_guard<GilRelease>());
  module.def("mean_field_bytes", &MeanField::bytes, py::arg("points"), py::arg("channels"), py::arg("kernels"),
             "Bytes of an inference without its lattices and the values on them.");
}

}  // namespace deeplab::mean_field
