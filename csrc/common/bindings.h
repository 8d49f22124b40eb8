// Shared by the binding file of every operation.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>

#include "check.h"
#include "tensor_view.h"

namespace py = pybind11;

// Runs <name>_cpu(args...) or <name>_cuda(args..., stream), whichever the tensor's device asks for. `stream` must be in
// scope.
#ifdef DEEPLAB_WITH_CUDA
#define DEEPLAB_DISPATCH_DEVICE(tensor, name, ...) \
  ((tensor).on_cpu() ? name##_cpu(__VA_ARGS__) : name##_cuda(__VA_ARGS__, stream))
#else
#define DEEPLAB_DISPATCH_DEVICE(tensor, name, ...)                                          \
  do {                                                                                      \
    static_cast<void>(stream);                                                              \
    DEEPLAB_CHECK((tensor).on_cpu(),                                                        \
                  "deeplab_caffe was built without CUDA: rebuild with nvcc on PATH or "     \
                  "CUDA_HOME set (DEEPLAB_CAFFE_CUDA=1 makes its absence an error), got a " \
                  "tensor ",                                                                \
                  (tensor).describe());                                                     \
    name##_cpu(__VA_ARGS__);                                                                \
  } while (false)
#endif

// The same for an operation whose host code builds without CUDA, see kernel_launch.h.
#define DEEPLAB_DISPATCH_KERNELS(tensor, name, ...) \
  ((tensor).on_cpu() ? name##_cpu(__VA_ARGS__) : name##_cuda(__VA_ARGS__, stream))
