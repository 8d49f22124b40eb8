// Argument checks. A failed check throws std::invalid_argument, which pybind11 turns into Python's ValueError.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <limits>
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

// For a class with Python bindings: refuses objects that were made by __new__ without __init__. When a method of such
// an object is called, pybind11 gets its memory from this operator and runs no constructor. C++ creates objects by
// ::new or std::make_shared.
#define DEEPLAB_NEEDS_INIT(name) \
  static void* operator new(size_t) { ::deeplab::fail(#name ": the object was made without __init__"); }

namespace deeplab {

// The product of sizes. Throws if one is negative, or the product does not fit into 64 bits.
inline int64_t product(std::initializer_list<int64_t> sizes) {
  int64_t result = 1;
  for (int64_t size : sizes) {
    DEEPLAB_CHECK(size >= 0, "expected sizes of at least 0, got ", size);
    DEEPLAB_CHECK(size == 0 || result <= std::numeric_limits<int64_t>::max() / size,
                  "sizes whose product is beyond 64 bits: ", result, " x ", size);
    result *= size;
  }
  return result;
}

}  // namespace deeplab
