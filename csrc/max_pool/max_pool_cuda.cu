#include <algorithm>
#include <limits>

#include "../common/kernel_launch.h"
#include "max_pool.h"
#ifdef DEEPLAB_WITH_CUDA
#include "max_pool_kernels.cuh"
#endif

namespace deeplab::max_pool {
namespace {

constexpr const char* kSource = "max_pool/max_pool_kernels.cuh";

template <typename bits_t, typename count_t>
void run(const TensorView& input, const TensorView& output, const Axis& rows, const Axis& columns, uintptr_t stream) {
  constexpr int64_t kMostRows = 65535;  // of a grid's second dimension
  const int64_t image_rows = output.size(0) * rows.out, packs = input.size(1) / count_t::value,
                row_packs = packs * columns.out;
  DEEPLAB_CHECK(row_packs <= std::numeric_limits<int32_t>::max() / 2, "max_pool: a row of ", output.describe(),
                " is too long");
  const Launch where{"max_pool",
                     input.device,
                     stream,
                     {blocks_for(row_packs), static_cast<unsigned int>(std::min(image_rows, kMostRows)), 1},
                     {kThreadsPerBlock, 1, 1}};
  launch_kernel(where, DEEPLAB_KERNEL(kSource, deeplab::max_pool::forward_kernel, bits_t, count_t),
                input.ptr<const Pack<bits_t, count_t::value>>(), output.ptr<Pack<bits_t, count_t::value>>(), image_rows,
                static_cast<int32_t>(packs), rows, columns, static_cast<bits_t>(lowest_bits(input.dtype)));
}

}  // namespace

void forward_cuda(const TensorView& input, const TensorView& output, const Axis& rows, const Axis& columns,
                  uintptr_t stream) {
  if (output.numel() == 0) return;
  dispatch_bits(input.dtype, [&](auto zero) {
    using bits_t = decltype(zero);
    using widest_t = std::integral_constant<int, kPackBytes / sizeof(bits_t)>;
    if (input.size(1) % widest_t::value == 0 && input.is_aligned() && output.is_aligned()) {
      run<bits_t, widest_t>(input, output, rows, columns, stream);
    } else {
      run<bits_t, std::integral_constant<int, 1>>(input, output, rows, columns, stream);
    }
  });
}

}  // namespace deeplab::max_pool
