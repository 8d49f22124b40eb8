// Divides one allocation of the caller into arrays. With a null base it only measures, so that the requested size and
// the arrays come from the same function.
#pragma once

#include <cstdint>

namespace deeplab {

class Carver {
 public:
  explicit Carver(void* base) : base_(static_cast<char*>(base)) {}

  template <typename T>
  T* take(int64_t count) {
    T* result = reinterpret_cast<T*>(base_ + bytes_);
    bytes_ += (count * static_cast<int64_t>(sizeof(T)) + kAlignment - 1) / kAlignment * kAlignment;
    return base_ ? result : nullptr;
  }
  int64_t bytes() const { return bytes_; }

 private:
  static constexpr int64_t kAlignment = 256;  // what cudaMalloc aligns to
  char* base_;
  int64_t bytes_ = 0;
};

}  // namespace deeplab
