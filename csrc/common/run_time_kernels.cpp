#include "run_time_kernels.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <atomic>
#include <cstdlib>

#include "check.h"

namespace deeplab {
namespace {

bool wanted_by_environment() {
#ifdef DEEPLAB_WITH_CUDA
  const char* value = std::getenv("DEEPLAB_CAFFE_NVRTC");
  return value && std::string(value) == "1";
#else
  return true;
#endif
}

std::atomic<bool> wanted_at_run_time{wanted_by_environment()};

}  // namespace

bool use_run_time_kernels() { return wanted_at_run_time.load(std::memory_order_relaxed); }

void set_run_time_kernels(bool wanted) {
#ifndef DEEPLAB_WITH_CUDA
  DEEPLAB_CHECK(wanted, "this extension was built without CUDA: it has no kernels but those compiled at run time");
#endif
  wanted_at_run_time = wanted;
}

void launch_at_run_time(const char* source, const std::string& name, const Launch& where, void** parameters) {
  namespace py = pybind11;
  py::gil_scoped_acquire gil;
  py::module_::import("deeplab_caffe.arrays.nvrtc")
      .attr("launch")(where.device, source, name, where.grid, where.block, where.stream,
                      reinterpret_cast<uintptr_t>(parameters));
}

}  // namespace deeplab
