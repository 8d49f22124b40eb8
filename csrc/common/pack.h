// Packs of neighbouring elements that one GPU thread reads or writes at once. No host code: this also compiles at run
// time (NVRTC).
#pragma once

namespace deeplab {

constexpr int kPackBytes = 16;  // of the widest load and store

template <typename T, int kCount>
struct alignas(sizeof(T) * kCount) Pack {
  T of[kCount];
};

}  // namespace deeplab
