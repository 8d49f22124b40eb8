// Memory for kernels: aligned to a cache line and not initialised, so that the threads that fill it are the first to
// touch its pages. Large buffers come from the workspace of the call (WorkspaceScope) and are returned to it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

#include "workspace.h"

namespace deeplab {

constexpr size_t kCacheLine = 64;

template <typename T>
class AlignedBuffer {
  static_assert(std::is_trivially_copyable_v<T>, "elements are neither constructed nor destroyed");

 public:
  AlignedBuffer() = default;
  // Throws std::bad_alloc, which becomes Python's MemoryError.
  explicit AlignedBuffer(int64_t count) : count_(count) {
    if (count < 0 || static_cast<uint64_t>(count) > SIZE_MAX / 2 / sizeof(T)) throw std::bad_alloc();
    const size_t bytes = count * sizeof(T);
    if (bytes < 2 * kHugePage) {
      data_ = {static_cast<T*>(::operator new(bytes, std::align_val_t(kCacheLine))), Free{}};
    } else {
      Free free{0, WorkspaceScope::current()};
      const Block block = take_block(free.workspace.get(), bytes);
      free.block_bytes = block.bytes;
      data_ = {static_cast<T*>(block.data), std::move(free)};
    }
  }

  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  T& operator[](int64_t index) { return data_.get()[index]; }
  const T& operator[](int64_t index) const { return data_.get()[index]; }
  int64_t size() const { return count_; }
  int64_t bytes() const { return count_ * static_cast<int64_t>(sizeof(T)); }

 private:
  struct Free {
    size_t block_bytes = 0;  // 0: no block
    std::shared_ptr<Workspace> workspace = nullptr;
    void operator()(T* data) const {
      if (block_bytes) return give_block(workspace.get(), {data, block_bytes});
      ::operator delete(data, std::align_val_t(kCacheLine));
    }
  };
  std::unique_ptr<T, Free> data_;
  int64_t count_ = 0;
};

}  // namespace deeplab
