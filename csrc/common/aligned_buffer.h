// Memory for kernels: aligned to a cache line and not initialised, because the threads that fill it should be the first
// to touch its pages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <type_traits>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace deeplab {

constexpr size_t kCacheLine = 64;
constexpr size_t kHugePage = size_t{1} << 21;

template <typename T>
class AlignedBuffer {
  static_assert(std::is_trivially_copyable_v<T>, "elements are neither constructed nor destroyed");

 public:
  AlignedBuffer() = default;
  // Throws std::bad_alloc, Python's MemoryError.
  explicit AlignedBuffer(int64_t count) : count_(count) {
    if (count < 0 || static_cast<uint64_t>(count) > SIZE_MAX / 2 / sizeof(T)) throw std::bad_alloc();
    const size_t bytes = count * sizeof(T);
    const size_t alignment = bytes < 2 * kHugePage ? kCacheLine : kHugePage;
    data_ = std::unique_ptr<T, Free>(static_cast<T*>(::operator new(bytes, std::align_val_t(alignment))),
                                     Free{std::align_val_t(alignment)});
#ifdef __linux__
    // Gathers over tens of megabytes spend their time on address translation otherwise. Whole pages only: what is
    // touched of one is all taken.
    if (alignment == kHugePage) madvise(data_.get(), bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
#endif
  }

  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  T& operator[](int64_t index) { return data_.get()[index]; }
  const T& operator[](int64_t index) const { return data_.get()[index]; }
  int64_t size() const { return count_; }
  int64_t bytes() const { return count_ * static_cast<int64_t>(sizeof(T)); }

 private:
  struct Free {
    std::align_val_t alignment{kCacheLine};
    void operator()(T* data) const { ::operator delete(data, alignment); }
  };
  std::unique_ptr<T, Free> data_;
  int64_t count_ = 0;
};

}  // namespace deeplab
