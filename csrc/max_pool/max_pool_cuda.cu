#include "../common/launch.cuh"
#include "max_pool.h"

namespace deeplab::max_pool {
namespace {

// What one thread reads and writes at once: 16 bytes of neighbouring channels where they lie so, else one channel.
template <typename bits_t, int count>
struct alignas(sizeof(bits_t) * count) Pack {
  bits_t of[count];
};

// Blocks of the second dimension take rows of outputs, threads the packs of one row: neighbours in a warp read and
// write neighbouring channels, and the windows' overlaps come from the caches.
template <typename bits_t, int count>
__global__ void forward_kernel(const Pack<bits_t, count>* input, Pack<bits_t, count>* output, int64_t image_rows,
                               int packs, Axis rows, Axis columns, bits_t lowest) {
  const int row_packs = static_cast<int>(columns.out) * packs;
  for (int64_t row = blockIdx.y; row < image_rows; row += gridDim.y) {
    const Range ys = window(rows, row % rows.out);
    const Pack<bits_t, count>* image = input + row / rows.out * rows.in * columns.in * packs;
    for (int index = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x); index < row_packs;
         index += static_cast<int>(blockDim.x * gridDim.x)) {
      const Range xs = window(columns, index / packs);
      Pack<bits_t, count> best;
#pragma unroll
      for (int i = 0; i < count; ++i) best.of[i] = ordered(lowest);
      for (int64_t y = ys.begin; y < ys.end; ++y) {
        for (int64_t x = xs.begin; x < xs.end; ++x) {
          const Pack<bits_t, count> pixel = image[(y * columns.in + x) * packs + index % packs];
#pragma unroll
          for (int i = 0; i < count; ++i) {
            const bits_t value = ordered(pixel.of[i]);
            best.of[i] = value > best.of[i] ? value : best.of[i];
          }
        }
      }
#pragma unroll
      for (int i = 0; i < count; ++i) best.of[i] = ordered(best.of[i]);
      output[row * row_packs + index] = best;
    }
  }
}

template <typename bits_t, int count>
void run(const TensorView& input, const TensorView& output, const Axis& rows, const Axis& columns, uintptr_t stream) {
  constexpr int64_t kMostRows = 65535;  // of a grid's second dimension
  const int64_t image_rows = output.size(0) * rows.out, packs = input.size(1) / count, row_packs = packs * columns.out;
  DEEPLAB_CHECK(row_packs <= std::numeric_limits<int>::max() / 2, "max_pool: a row of ", output.describe(),
                " is too long");
  const dim3 grid(blocks_for(row_packs), static_cast<unsigned int>(std::min(image_rows, kMostRows)));
  launch("max_pool", forward_kernel<bits_t, count>, grid, dim3(kThreadsPerBlock), stream,
         input.ptr<const Pack<bits_t, count>>(), output.ptr<Pack<bits_t, count>>(), image_rows, static_cast<int>(packs),
         rows, columns, static_cast<bits_t>(lowest_bits(input.dtype)));
}

bool aligned(const TensorView& tensor) { return reinterpret_cast<uintptr_t>(tensor.data) % 16 == 0; }

}  // namespace

void forward_cuda(const TensorView& input, const TensorView& output, const Axis& rows, const Axis& columns,
                  uintptr_t stream) {
  if (output.numel() == 0) return;
  DeviceGuard guard(input.device);
  dispatch_bits(input.dtype, [&](auto zero) {
    using bits_t = decltype(zero);
    constexpr int kCount = 16 / sizeof(bits_t);
    if (input.size(1) % kCount == 0 && aligned(input) && aligned(output)) {
      run<bits_t, kCount>(input, output, rows, columns, stream);
    } else {
      run<bits_t, 1>(input, output, rows, columns, stream);
    }
  });
}

}  // namespace deeplab::max_pool
