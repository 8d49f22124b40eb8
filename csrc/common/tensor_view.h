// A tensor that Python owns: pointer, sizes, strides, dtype, device. The extension sees nothing else of torch, numpy or
// CuPy, so that one binary works with every version of each.
#pragma once

#include <cstdint>

#ifndef __CUDACC_RTC__  // NVRTC, which compiles kernels at run time, has no host headers
#include <string>
#include <vector>

#include "check.h"
#endif

namespace deeplab {

enum class DType { kFloat32, kFloat64, kFloat16, kBFloat16, kUInt8, kInt16, kInt32, kInt64 };

struct TensorView;

#ifndef __CUDACC_RTC__

DType parse_dtype(const std::string& name);
int64_t dtype_bytes(DType dtype);
const char* dtype_name(DType dtype);

constexpr int kCpu = -1;

struct TensorView {
  DEEPLAB_NEEDS_INIT(TensorView)

  void* data;
  std::vector<int64_t> sizes;
  std::vector<int64_t> strides;  // in elements, not bytes
  DType dtype;
  int device;  // kCpu, or the CUDA device's index

  bool on_cpu() const { return device == kCpu; }
  int64_t dim() const { return static_cast<int64_t>(sizes.size()); }
  int64_t size(int axis) const { return sizes[axis]; }
  int64_t stride(int axis) const { return strides[axis]; }
  int64_t numel() const;
  bool is_contiguous() const;
  // Aligned to 16 bytes, as the widest loads and stores need.
  bool is_aligned() const { return reinterpret_cast<uintptr_t>(data) % 16 == 0; }
  std::string describe() const;  // "float32 (1, 21, 41, 41) on cpu"

  template <typename T>
  T* ptr() const {
    return static_cast<T*>(data);
  }
};

// Each throws std::invalid_argument with the argument, what was expected and what came.
void check_dim(const TensorView& tensor, const char* name, int64_t dim);
void check_sizes(const TensorView& tensor, const char* name, const std::vector<int64_t>& sizes);
void check_contiguous(const TensorView& tensor, const char* name);
// Checks that the second of four axes is innermost in memory, without gaps.
void check_channels_last(const TensorView& tensor, const char* name);
void check_on_cpu(const char* operation, const TensorView& tensor, const char* name);
void check_dtype(const TensorView& tensor, const char* name, DType dtype);
void check_same_dtype_and_device(const TensorView& a, const char* a_name, const TensorView& b, const char* b_name);

// Calls `body` with a value of the C++ type of a floating dtype: dispatch_floating(x.dtype, "interp", [&](auto zero) {
// using scalar_t = decltype(zero); ... }).
template <typename Body>
void dispatch_floating(DType dtype, const char* operation, Body&& body) {
  switch (dtype) {
    case DType::kFloat32:
      return body(float{});
    case DType::kFloat64:
      return body(double{});
    default:
      fail(operation, ": expected float32 or float64, got ", dtype_name(dtype));
  }
}

#endif

}  // namespace deeplab
