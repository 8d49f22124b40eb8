#include "../common/bindings.h"
#include "resize.h"

namespace deeplab::resize {
namespace {

constexpr int32_t kOne = 2048;

// Checks the four rows of taps (4, out): their indices must lie within the axis.
Taps check_taps(const TensorView& taps, const char* name, int64_t out, int64_t in) {
  check_dtype(taps, name, DType::kInt32);
  check_sizes(taps, name, {4, out});
  check_contiguous(taps, name);
  DEEPLAB_CHECK(taps.on_cpu(), name, ": expected it on the cpu, got ", taps.describe());
  const int32_t* numbers = taps.ptr<const int32_t>();
  for (int64_t i = 0; i < 2 * out; ++i) {
    DEEPLAB_CHECK(numbers[i] >= 0 && numbers[i] < in, name, ": index ", numbers[i], " is outside of 0 to ", in - 1);
    const int32_t weight = numbers[2 * out + i];
    DEEPLAB_CHECK(weight >= 0 && weight <= kOne, name, ": weight ", weight, " is outside of 0 to ", kOne);
  }
  return {numbers, numbers + out, numbers + 2 * out, numbers + 3 * out};
}

void bilinear(const TensorView& image, const TensorView& out, const TensorView& down, const TensorView& across) {
  check_dim(image, "image", 3);
  check_dtype(image, "image", DType::kUInt8);
  check_dim(out, "out", 3);
  check_dtype(out, "out", DType::kUInt8);
  check_contiguous(out, "out");
  DEEPLAB_CHECK(image.on_cpu() && out.on_cpu(), "resize_bilinear: expected images on the cpu, got ", image.describe(),
                " and ", out.describe());
  DEEPLAB_CHECK(image.size(2) == out.size(2), "resize_bilinear: expected as many channels, got ", image.describe(),
                " and ", out.describe());
  const Taps rows = check_taps(down, "down", out.size(0), image.size(0));
  const Taps columns = check_taps(across, "across", out.size(1), image.size(1));
  bilinear_cpu(image, out, rows, columns);
}

}  // namespace

void bind(py::module_& module) {
  module.def("resize_bilinear", &bilinear, py::arg("image"), py::arg("out"), py::arg("down"), py::arg("across"),
             py::call_guard<GilRelease>());
}

}  // namespace deeplab::resize
