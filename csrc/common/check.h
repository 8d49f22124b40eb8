// Argument checks. A failed check throws std::invalid_argument, which pybind11 turns into Python's ValueError.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace deeplab {

template <typename... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  std::ostringstream message;
  (message << ... << parts);
  throw std::invalid_argument(message.str());
}

}  // namespace deeplab

#define DEEPLAB_CHECK(condition, ...)               \
  do {                                              \
    if (!(condition)) ::deeplab::fail(__VA_ARGS__); \
  } while (false)
