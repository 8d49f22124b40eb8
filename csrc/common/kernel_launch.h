// Launches kernels that are compiled into the extension, or kernels that NVRTC compiles at run time from the sources in
// the package (deeplab_caffe/arrays/nvrtc). Host code that uses this is the same for both, and also builds without
// CUDA.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>

#include "half.h"
#include "launch_size.h"
#include "run_time_kernels.h"
#include "tensor_view.h"

#ifdef DEEPLAB_WITH_CUDA
#include "launch.cuh"
#endif

namespace deeplab {

// One thread per item, in grid-stride loops.
inline Launch launch_over(const char* what, int device, uintptr_t stream, int64_t count) {
  return {what, device, stream, {blocks_for(count), 1, 1}, {kThreadsPerBlock, 1, 1}};
}

// Calls body(index_t{}) with the integer type that a kernel should count in: 64-bit divisions take several times longer
// than 32-bit ones, and longer than the memory accesses whose addresses they compute.
template <typename Body>
void dispatch_index(bool narrow, const Body& body) {
  if (narrow) {
    body(int32_t{});
  } else {
    body(int64_t{});
  }
}

// Whether counts up to this one, plus a thread's step beyond it, fit into 32 bits.
inline bool fits_32_bits(int64_t count) { return count <= std::numeric_limits<int32_t>::max() / 2; }

// Type names for NVRTC name expressions. A kernel over another type adds a specialisation.
template <typename T>
constexpr const char* kTypeName = nullptr;
template <>
inline constexpr const char* kTypeName<float> = "float";
template <>
inline constexpr const char* kTypeName<double> = "double";
template <>
inline constexpr const char* kTypeName<Half> = "deeplab::Half";
template <>
inline constexpr const char* kTypeName<BFloat16> = "deeplab::BFloat16";
template <>
inline constexpr const char* kTypeName<uint8_t> = "uint8_t";
template <>
inline constexpr const char* kTypeName<int16_t> = "int16_t";
template <>
inline constexpr const char* kTypeName<int32_t> = "int32_t";
template <>
inline constexpr const char* kTypeName<int64_t> = "int64_t";
template <>
inline constexpr const char* kTypeName<std::true_type> = "std::true_type";
template <>
inline constexpr const char* kTypeName<std::false_type> = "std::false_type";

template <typename T>
struct TypeName {
  static_assert(kTypeName<T> != nullptr, "kTypeName lacks this type");
  static std::string text() { return kTypeName<T>; }
};
template <int N>
struct TypeName<std::integral_constant<int, N>> {
  static std::string text() { return "std::integral_constant<int, " + std::to_string(N) + ">"; }
};

// "deeplab::hole::im2col_kernel<float, int32_t>"
template <typename... Types>
std::string kernel_name(const char* name) {
  std::string types;
  ((types += (types.empty() ? "" : ", ") + TypeName<Types>::text()), ...);
  return types.empty() ? name : std::string(name) + "<" + types + ">";
}

// What NVRTC needs to know about a kernel, and the compiled kernel if the extension has it.
template <typename Compiled>
struct Kernel {
  const char* source;  // of its definition, within csrc
  const char* name;    // with all namespaces, without template arguments
  std::string (*full_name)(const char* name);
  Compiled compiled;
};

struct NotCompiled {};

#ifdef DEEPLAB_WITH_CUDA
#define DEEPLAB_COMPILED(...) (&__VA_ARGS__)
#else
#define DEEPLAB_COMPILED(...) (::deeplab::NotCompiled{})
#endif

// A kernel template and its type arguments: DEEPLAB_KERNEL("interp/interp_kernels.cuh",
// deeplab::interp::forward_kernel, scalar_t).
#define DEEPLAB_KERNEL(source, kernel, ...)                                          \
  (::deeplab::Kernel<std::decay_t<decltype(DEEPLAB_COMPILED(kernel<__VA_ARGS__>))>>{ \
      source, #kernel, &::deeplab::kernel_name<__VA_ARGS__>, DEEPLAB_COMPILED(kernel<__VA_ARGS__>)})

// A kernel that is not a template.
#define DEEPLAB_PLAIN_KERNEL(source, kernel)                                                                       \
  (::deeplab::Kernel<std::decay_t<decltype(DEEPLAB_COMPILED(kernel))>>{source, #kernel, &::deeplab::kernel_name<>, \
                                                                       DEEPLAB_COMPILED(kernel)})

#ifdef DEEPLAB_WITH_CUDA
template <typename... Parameters, typename... Arguments>
void launch_compiled(const Launch& where, void (*kernel)(Parameters...), const Arguments&... arguments) {
  // Arguments are passed to NVRTC's kernels as raw bytes: a different type would be misread instead of converted.
  static_assert((std::is_same_v<Parameters, Arguments> && ...), "the arguments' types are not the parameters'");
  DeviceGuard guard(where.device);
  launch(where.what, kernel, dim3(where.grid[0], where.grid[1], where.grid[2]),
         dim3(where.block[0], where.block[1], where.block[2]), where.stream, arguments...);
}
#endif

template <typename Compiled, typename... Arguments>
void launch_kernel(const Launch& where, const Kernel<Compiled>& kernel, Arguments... arguments) {
#ifdef DEEPLAB_WITH_CUDA
  if (!use_run_time_kernels()) {
    launch_compiled(where, kernel.compiled, arguments...);
    return;
  }
#endif
  void* parameters[] = {const_cast<void*>(static_cast<const void*>(&arguments))...};
  launch_at_run_time(kernel.source, kernel.full_name(kernel.name), where, parameters);
}

}  // namespace deeplab
