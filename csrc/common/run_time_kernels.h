// Launches kernels that NVRTC compiles. For host compilers without CUDA.
#pragma once

#include <array>
#include <cstdint>
#include <string>

namespace deeplab {

struct Launch {
  const char* what;  // for error messages
  int device;
  uintptr_t stream;
  std::array<unsigned int, 3> grid;
  std::array<unsigned int, 3> block;
};

// Calls deeplab_caffe.arrays.nvrtc.launch. `parameters` points to each argument's value.
void launch_at_run_time(const char* source, const std::string& name, const Launch& where, void** parameters);

// Whether kernels are compiled at run time: because the extension has no others, or because the user chose it.
bool use_run_time_kernels();
void set_run_time_kernels(bool wanted);

}  // namespace deeplab
