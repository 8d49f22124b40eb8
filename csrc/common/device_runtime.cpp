#include "device_runtime.h"

#include <pybind11/pybind11.h>

namespace deeplab::by_cupy {
namespace {

// Calls a function of deeplab_caffe/arrays/nvrtc/runtime.py.
template <typename Result, typename... Arguments>
Result ask(const char* function, const Arguments&... arguments) {
  namespace py = pybind11;
  py::gil_scoped_acquire gil;
  return py::module_::import("deeplab_caffe.arrays.nvrtc.runtime").attr(function)(arguments...).template cast<Result>();
}

uintptr_t address(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer); }

}  // namespace

void set_bytes(int device, void* data, int value, int64_t bytes, uintptr_t stream) {
  ask<bool>("set_bytes", device, address(data), value, bytes, stream);
}

void read_back(int device, void* host, const void* data, int64_t bytes, uintptr_t stream) {
  ask<bool>("read_back", device, address(host), address(data), bytes, stream);
}

int processors(int device) { return ask<int>("processors", device); }

bool is_capturing(int device, uintptr_t stream) { return ask<bool>("is_capturing", device, stream); }

int sort_pairs(int device, const SortBuffers& buffers, int64_t count, uintptr_t stream) {
  ask<bool>("sort_pairs", device, address(buffers.words[0]), address(buffers.numbers[0]), address(buffers.words[1]),
            address(buffers.numbers[1]), count, stream);
  return 1;
}

}  // namespace deeplab::by_cupy
