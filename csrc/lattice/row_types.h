// The types of rows on a GPU (rows.cuh), for host code: their names are template arguments of kernels.
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
