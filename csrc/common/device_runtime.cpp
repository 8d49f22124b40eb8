#include "device_runtime.h"

#include <pybind11/pybind11.h>

#include <type_traits>

namespace deeplab::by_cupy {
namespace {

// Calls a function of deeplab_caffe/arrays/nvrtc/runtime.py.
template <typename Result = void, typename... Arguments>
Result ask(const char* function, const Arguments&... arguments) {
  namespace py = pybind11;
  py::gil_scoped_acquire gil;
  const py::object result = py::module_::import("deeplab_caffe.arrays.nvrtc.runtime").attr(function)(arguments...);
  if constexpr (!std::is_void_v<Result>) return result.cast<Result>();
}

uintptr_t address(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer); }

}  // namespace

void set_bytes(int device, void* data, int value, int64_t bytes, uintptr_t stream) {
  ask("set_bytes", device, address(data), value, bytes, stream);
}

void read_back(int device, void* host, const void* data, int64_t bytes, uintptr_t stream) {
  ask("read_back", device, address(host), address(data), bytes, stream);
}

int processors(int device) { return ask<int>("processors", device); }

bool is_capturing(int device, uintptr_t stream) { return ask<bool>("is_capturing", device, stream); }

int sort_pairs(int device, const SortBuffers& buffers, int64_t count, uintptr_t stream) {
  ask("sort_pairs", device, address(buffers.words[0]), address(buffers.numbers[0]), address(buffers.words[1]),
      address(buffers.numbers[1]), count, stream);
  return 1;
}

}  // namespace deeplab::by_cupy
