// The interpreter's lock, given back while the extension computes.
#pragma once

#include <pybind11/pybind11.h>

#include <chrono>
#include <thread>

namespace deeplab {

// py::gil_scoped_release for daemon threads too. Where the interpreter has begun to end, Python before 3.14 ends a
// thread that asks for the lock by pthread_exit. In glibc that unwinds the stack as an exception does, and one that
// leaves a destructor, where pybind11 asks, ends the process by std::terminate. The thread stays here instead until the
// process is gone, as it does in Python 3.14.
class GilRelease {
 public:
  GilRelease() : state_(PyEval_SaveThread()) {}
  GilRelease(const GilRelease&) = delete;
  GilRelease& operator=(const GilRelease&) = delete;

  ~GilRelease() {
    try {
      PyEval_RestoreThread(state_);
    } catch (...) {  // never left: glibc wants its exception thrown on
      while (true) std::this_thread::sleep_for(std::chrono::hours(1));
    }
  }

 private:
  PyThreadState* state_;
};

}  // namespace deeplab
