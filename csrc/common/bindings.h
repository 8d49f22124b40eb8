// Shared by the binding file of every operation.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <memory>
#include <utility>

#include "check.h"
#include "gil.h"
#include "tensor_view.h"

namespace py = pybind11;

namespace deeplab {

// For Python's objects of classes with DEEPLAB_NEEDS_INIT.
template <typename T>
std::unique_ptr<T> owned(T value) {
  return std::unique_ptr<T>(::new T(std::move(value)));
}

}  // namespace deeplab

// Runs <name>_cpu(args...) or <name>_cuda(args..., stream), depending on the tensor's device. `stream` must be in
// scope.
#define DEEPLAB_DISPATCH_DEVICE(tensor, name, ...) \
  ((tensor).on_cpu() ? name##_cpu(__VA_ARGS__) : name##_cuda(__VA_ARGS__, stream))
