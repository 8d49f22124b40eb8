#include <mutex>
#include <vector>

#include "device_runtime.h"
#include "kernel_launch.h"
#ifdef DEEPLAB_WITH_CUDA
#include <cub/device/device_radix_sort.cuh>
#endif

namespace deeplab {
namespace {

int count_processors(int device) {
#ifdef DEEPLAB_WITH_CUDA
  if (!use_run_time_kernels()) {
    int found = 0;
    check_cuda(cudaDeviceGetAttribute(&found, cudaDevAttrMultiProcessorCount, device), "cudaDeviceGetAttribute");
    return found;
  }
#endif
  return by_cupy::processors(device);
}

}  // namespace

void set_bytes(int device, void* data, int value, int64_t bytes, uintptr_t stream) {
#ifdef DEEPLAB_WITH_CUDA
  if (!use_run_time_kernels()) {
    DeviceGuard guard(device);
    check_cuda(cudaMemsetAsync(data, value, bytes, as_stream(stream)), "cudaMemsetAsync");
    return;
  }
#endif
  by_cupy::set_bytes(device, data, value, bytes, stream);
}

void read_back(int device, void* host, const void* data, int64_t bytes, uintptr_t stream) {
#ifdef DEEPLAB_WITH_CUDA
  if (!use_run_time_kernels()) {
    DeviceGuard guard(device);
    check_cuda(cudaMemcpyAsync(host, data, bytes, cudaMemcpyDeviceToHost, as_stream(stream)), "cudaMemcpyAsync");
    check_cuda(cudaStreamSynchronize(as_stream(stream)), "cudaStreamSynchronize");
    return;
  }
#endif
  by_cupy::read_back(device, host, data, bytes, stream);
}

int processors(int device) {
  static std::mutex mutex;
  static std::vector<int> known;  // by device, 0 if not asked yet
  {
    const std::lock_guard lock(mutex);
    if (device < static_cast<int>(known.size()) && known[device] > 0) return known[device];
  }
  const int found = count_processors(device);  // without the lock: it may wait for Python's
  const std::lock_guard lock(mutex);
  if (device >= static_cast<int>(known.size())) known.resize(device + 1);
  return known[device] = found;
}

bool is_capturing(int device, uintptr_t stream) {
#ifdef DEEPLAB_WITH_CUDA
  if (!use_run_time_kernels()) {
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    check_cuda(cudaStreamIsCapturing(as_stream(stream), &status), "cudaStreamIsCapturing");
    return status != cudaStreamCaptureStatusNone;
  }
#endif
  return by_cupy::is_capturing(device, stream);
}

int64_t sort_bytes(int device, int64_t count) {
#ifdef DEEPLAB_WITH_CUDA
  if (!use_run_time_kernels()) {
    DeviceGuard guard(device);
    cub::DoubleBuffer<uint64_t> words(nullptr, nullptr);
    cub::DoubleBuffer<uint32_t> numbers(nullptr, nullptr);
    size_t bytes = 0;
    check_cuda(cub::DeviceRadixSort::SortPairs(nullptr, bytes, words, numbers, static_cast<int>(count), 0, 64),
               "size of a radix sort");
    // Not 0, because CUB takes a null scratch pointer for a query of the size.
    return std::max<int64_t>(static_cast<int64_t>(bytes), 1);
  }
#endif
  static_cast<void>(device);
  static_cast<void>(count);
  return 1;
}

int sort_pairs(int device, const SortBuffers& buffers, int64_t count, int bits, void* scratch, int64_t scratch_bytes,
               uintptr_t stream) {
#ifdef DEEPLAB_WITH_CUDA
  if (!use_run_time_kernels()) {
    DeviceGuard guard(device);
    cub::DoubleBuffer<uint64_t> words(buffers.words[0], buffers.words[1]);
    cub::DoubleBuffer<uint32_t> numbers(buffers.numbers[0], buffers.numbers[1]);
    size_t bytes = static_cast<size_t>(scratch_bytes);
    check_cuda(cub::DeviceRadixSort::SortPairs(scratch, bytes, words, numbers, static_cast<int>(count), 0, bits,
                                               as_stream(stream)),
               "sorting lattice keys");
    return words.selector;  // both pairs of buffers are swapped alike
  }
#endif
  static_cast<void>(bits);
  static_cast<void>(scratch);
  static_cast<void>(scratch_bytes);
  return by_cupy::sort_pairs(device, buffers, count, stream);
}

}  // namespace deeplab
