#include "../common/kernel_launch.h"
#include "preprocess.h"
#ifdef DEEPLAB_WITH_CUDA
#include "preprocess_kernels.cuh"
#endif

namespace deeplab::preprocess {
namespace {

constexpr const char* kSource = "preprocess/preprocess_kernels.cuh";

template <typename stored_t, typename count_t>
void run(const Images& images, const TensorView& blob, const Mean& mean, uintptr_t stream) {
  constexpr int kCount = count_t::value;
  const int64_t count = blob.numel();
  const auto with_layout = [&](auto channels_last) {
    using channels_last_t = decltype(channels_last);
    dispatch_index(fits_32_bits(count), [&](auto index) {
      using index_t = decltype(index);
      launch_kernel(
          launch_over("preprocess", blob.device, stream, (count + kCount - 1) / kCount),
          DEEPLAB_KERNEL(kSource, deeplab::preprocess::images_kernel, stored_t, count_t, channels_last_t, index_t),
          images, blob.ptr<stored_t>(), count, static_cast<index_t>(blob.size(2)), static_cast<index_t>(blob.size(3)),
          mean);
    });
  };
  if (is_channels_last(blob)) {
    with_layout(std::true_type{});
  } else {
    with_layout(std::false_type{});
  }
}

}  // namespace

void images_cuda(const TensorView& images, const TensorView& blob, const Mean& mean, uintptr_t stream) {
  if (blob.numel() == 0) return;
  const Images source{images.ptr<const uint8_t>(),
                      images.stride(0),
                      images.stride(1),
                      images.stride(2),
                      images.stride(3),
                      images.size(1),
                      images.size(2)};
  dispatch_blob(blob.dtype, [&](auto zero) {
    using stored_t = decltype(zero);
    // An item within a batch of an odd number of elements is not aligned.
    if (blob.is_aligned()) {
      run<stored_t, Widest<stored_t>>(source, blob, mean, stream);
    } else {
      run<stored_t, Single>(source, blob, mean, stream);
    }
  });
}

}  // namespace deeplab::preprocess
