// What rows on a GPU are made of (rows.cuh), for host code: names that a kernel's template arguments have.
#pragma once

#include "../common/kernel_launch.h"

#ifndef DEEPLAB_WITH_CUDA
struct float4;
#endif

namespace deeplab {
namespace lattice {
struct Half4;
}

template <>
inline constexpr const char* kTypeName<float4> = "float4";
template <>
inline constexpr const char* kTypeName<lattice::Half4> = "deeplab::lattice::Half4";

}  // namespace deeplab
