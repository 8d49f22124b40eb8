// A value that is made when it is first asked for.
#pragma once

#include <atomic>
#include <memory>

namespace deeplab {

// Without a lock: a forked process would wait for ever for a thread that made the value in its parent. Threads that ask
// at the same time each make it, and all take the one that is there first.
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

  // Null if nobody asked yet.
  const T* found() const { return value_; }

 private:
  mutable std::atomic<const T*> value_{nullptr};
};

}  // namespace deeplab
