#include "tensor_view.h"

#include <array>
#include <utility>

namespace deeplab {
namespace {

constexpr std::array<std::pair<const char*, DType>, 8> kDTypes{{{"float32", DType::kFloat32},
                                                                {"float64", DType::kFloat64},
                                                                {"float16", DType::kFloat16},
                                                                {"bfloat16", DType::kBFloat16},
                                                                {"uint8", DType::kUInt8},
                                                                {"int16", DType::kInt16},
                                                                {"int32", DType::kInt32},
                                                                {"int64", DType::kInt64}}};

std::string sizes_text(const std::vector<int64_t>& sizes) {
  std::ostringstream text;
  text << "(";
  for (size_t i = 0; i < sizes.size(); ++i) text << (i ? ", " : "") << sizes[i];
  text << ")";
  return text.str();
}

}  // namespace

DType parse_dtype(const std::string& name) {
  for (const auto& [known, dtype] : kDTypes) {
    if (name == known) return dtype;
  }
  fail("dtype ", name, " is not supported: expected float32, float64, float16, bfloat16, uint8, int16, int32 or int64");
}

int64_t dtype_bytes(DType dtype) {
  switch (dtype) {
    case DType::kFloat64:
    case DType::kInt64:
      return 8;
    case DType::kFloat32:
    case DType::kInt32:
      return 4;
    case DType::kUInt8:
      return 1;
    default:
      return 2;
  }
}

const char* dtype_name(DType dtype) {
  for (const auto& [name, known] : kDTypes) {
    if (dtype == known) return name;
  }
  return "unknown";
}

int64_t TensorView::numel() const {
  int64_t count = 1;  // make_view knows that it fits
  for (int64_t size : sizes) count *= size;
  return count;
}

bool TensorView::is_contiguous() const {
  if (numel() == 0) return true;
  int64_t expected = 1;
  for (int64_t axis = dim() - 1; axis >= 0; --axis) {
    if (sizes[axis] != 1 && strides[axis] != expected) return false;
    expected *= sizes[axis];
  }
  return true;
}

std::string TensorView::describe() const {
  std::string place = on_cpu() ? "cpu" : "cuda:" + std::to_string(device);
  return std::string(dtype_name(dtype)) + " " + sizes_text(sizes) + " on " + place;
}

void check_dim(const TensorView& tensor, const char* name, int64_t dim) {
  DEEPLAB_CHECK(tensor.dim() == dim, name, ": expected ", dim, " dimensions, got ", tensor.describe());
}

void check_sizes(const TensorView& tensor, const char* name, const std::vector<int64_t>& sizes) {
  DEEPLAB_CHECK(tensor.sizes == sizes, name, ": expected shape ", sizes_text(sizes), ", got ", tensor.describe());
}

void check_contiguous(const TensorView& tensor, const char* name) {
  DEEPLAB_CHECK(tensor.is_contiguous(), name, ": expected contiguous memory, got strides ", sizes_text(tensor.strides),
                " for ", tensor.describe());
}

void check_channels_last(const TensorView& tensor, const char* name) {
  check_dim(tensor, name, 4);
  if (tensor.numel() == 0) return;
  const int64_t strides[] = {tensor.size(1) * tensor.size(2) * tensor.size(3), 1, tensor.size(1) * tensor.size(3),
                             tensor.size(1)};
  for (int axis = 0; axis < 4; ++axis) {
    DEEPLAB_CHECK(tensor.size(axis) == 1 || tensor.stride(axis) == strides[axis], name,
                  ": expected channels-last memory without gaps, got other strides in ", tensor.describe());
  }
}

void check_on_cpu(const char* operation, const TensorView& tensor, const char* name) {
  DEEPLAB_CHECK(tensor.on_cpu(), operation, ": expected ", name, " on the CPU, got ", tensor.describe());
}

void check_dtype(const TensorView& tensor, const char* name, DType dtype) {
  DEEPLAB_CHECK(tensor.dtype == dtype, name, ": expected ", dtype_name(dtype), ", got ", tensor.describe());
}

void check_same_dtype_and_device(const TensorView& a, const char* a_name, const TensorView& b, const char* b_name) {
  DEEPLAB_CHECK(a.dtype == b.dtype && a.device == b.device, a_name, " and ", b_name,
                ": expected one dtype and one device, got ", a.describe(), " and ", b.describe());
}

}  // namespace deeplab
