// One macro for "compile for the host and, under nvcc, for the device too".
#pragma once

#ifdef __CUDACC__
#define DEEPLAB_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define DEEPLAB_HOST_DEVICE inline
#endif
