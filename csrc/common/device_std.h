// The little of the standard library that kernels need, which NVRTC does not have.
#pragma once

#ifdef __CUDACC_RTC__
using int32_t = int;
using int64_t = long long;
using uint8_t = unsigned char;
using uint32_t = unsigned int;
using uint64_t = unsigned long long;
#define INT32_MAX 2147483647
#define INT32_MIN (-INT32_MAX - 1)
#define INFINITY __int_as_float(0x7f800000)
#define FLT_MIN 1.17549435e-38f
#else
#include <cfloat>
#include <cmath>
#include <cstdint>
#endif
