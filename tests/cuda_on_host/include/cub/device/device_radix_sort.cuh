// Stands in for CUB: a stable sort that leaves arbitrary bytes wherever CUB may.
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
    const bool swap = (end - begin + 7) / 8 % 2;  // as an odd number of passes would
    K* const keys = k.Current();
    V* const values = v.Current();
    if (swap) {
      k.selector ^= 1;
      v.selector ^= 1;
    }
    K* const sorted_keys = k.Current();
    V* const sorted_values = v.Current();
    on_host::enqueue([=, bytes = bytes] {
      memset(temp, 0xee, bytes);
      std::vector<int> idx(n);
      std::iota(idx.begin(), idx.end(), 0);
      const uint64_t mask = (end >= 64 ? ~0ull : (1ull << end) - 1) & ~((1ull << begin) - 1);
      std::stable_sort(idx.begin(), idx.end(), [&](int a, int b) { return (keys[a] & mask) < (keys[b] & mask); });
      std::vector<K> kk(n);
      std::vector<V> vv(n);
      for (int i = 0; i < n; ++i) {
        kk[i] = keys[idx[i]];
        vv[i] = values[idx[i]];
      }
      memset(keys, 0xdd, n * sizeof(K));
      memset(values, 0xdd, n * sizeof(V));
      std::copy(kk.begin(), kk.end(), sorted_keys);
      std::copy(vv.begin(), vv.end(), sorted_values);
    });
    return cudaSuccess;
  }
};
}  // namespace cub
