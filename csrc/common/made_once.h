// A value that is created when it is first requested.
#pragma once

#include <atomic>
#include <memory>

namespace deeplab {

// Without a lock, because a forked process could wait for ever for a thread of its parent. Threads that request the
// value at the same time each create one, and all use the one that is stored first.
template <typename T>
class MadeOnce {
 public:
  MadeOnce() = default;
  ~MadeOnce() { delete value_.load(); }
  MadeOnce(const MadeOnce&) = delete;
  MadeOnce& operator=(const MadeOnce&) = delete;

  template <typename Make>
  const T& get(const Make& make) const {
    const T* found = value_;
    if (!found) {
      auto made = std::make_unique<const T>(make());
      if (value_.compare_exchange_strong(found, made.get())) found = made.release();
    }
    return *found;
  }

  // Null if nobody has requested the value yet.
  const T* found() const { return value_; }

 private:
  mutable std::atomic<const T*> value_{nullptr};
};

}  // namespace deeplab
