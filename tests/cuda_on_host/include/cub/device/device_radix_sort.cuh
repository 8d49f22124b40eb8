// Stands in for CUB: a stable sort that leaves rubbish wherever CUB may.
#pragma once
#include "cuda_runtime.h"
namespace cub {
template <typename T>
struct DoubleBuffer {
  T* d_buffers[2];
  int selector = 0;
  DoubleBuffer(T* a, T* b) : d_buffers{a, b} {}
  T* Current() { return d_buffers[selector]; }
  T* Alternate() { return d_buffers[selector ^ 1]; }
};
struct DeviceRadixSort {
  template <typename K, typename V>
  static cudaError_t SortPairs(void* temp, size_t& bytes, DoubleBuffer<K>& k, DoubleBuffer<V>& v, int n, int begin,
                               int end, cudaStream_t = nullptr) {
    if (!temp) {
      bytes = 123;
      return cudaSuccess;
    }
    memset(temp, 0xee, bytes);
    std::vector<int> idx(n);
    std::iota(idx.begin(), idx.end(), 0);
    const uint64_t mask = (end >= 64 ? ~0ull : (1ull << end) - 1) & ~((1ull << begin) - 1);
    std::stable_sort(idx.begin(), idx.end(),
                     [&](int a, int b) { return (k.Current()[a] & mask) < (k.Current()[b] & mask); });
    const bool swap = (end - begin + 7) / 8 % 2;  // as an odd number of passes would
    std::vector<K> kk(n);
    std::vector<V> vv(n);
    for (int i = 0; i < n; ++i) {
      kk[i] = k.Current()[idx[i]];
      vv[i] = v.Current()[idx[i]];
    }
    memset(k.Current(), 0xdd, n * sizeof(K));
    memset(v.Current(), 0xdd, n * sizeof(V));
    if (swap) {
      k.selector ^= 1;
      v.selector ^= 1;
    }
    std::copy(kk.begin(), kk.end(), k.Current());
    std::copy(vv.begin(), vv.end(), v.Current());
    return cudaSuccess;
  }
};
}  // namespace cub
