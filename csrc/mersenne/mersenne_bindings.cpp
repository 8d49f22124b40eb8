#include "../common/bindings.h"
#include "mersenne.h"

namespace deeplab::mersenne {
namespace {

int64_t at_most(const TensorView& key, int64_t position, uint32_t most, const TensorView& out) {
  check_dtype(key, "key", DType::kInt32);
  check_sizes(key, "key", {kWords});
  check_contiguous(key, "key");
  check_dim(out, "out", 1);
  check_dtype(out, "out", DType::kUInt8);
  check_contiguous(out, "out");
  DEEPLAB_CHECK(key.on_cpu() && out.on_cpu(), "mersenne_at_most: expected key and out on the cpu, got ", key.describe(),
                " and ", out.describe());
  DEEPLAB_CHECK(position >= 0 && position <= kWords, "mersenne_at_most: position must be from 0 to ", kWords, ", got ",
                position);
  return at_most_cpu(key, position, most, out);
}

}  // namespace

void bind(py::module_& module) {
  module.def("mersenne_at_most", &at_most, py::arg("key"), py::arg("position"), py::arg("most"), py::arg("out"),
             py::call_guard<GilRelease>());
}

}  // namespace deeplab::mersenne
