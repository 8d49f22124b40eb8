#include "../common/cuda_utils.cuh"
#include "interp.h"

namespace deeplab::interp {
namespace {

struct Strides {
  int64_t n, c, y, x;
};

template <typename scalar_t>
__global__ void forward_kernel(const scalar_t* input,  // (N, C, H, W), cropped: points at the first pixel that is read
                               Strides strides, scalar_t* output /* (N, C, OH, OW) */, int64_t count, int64_t channels,
                               Axis rows, Axis columns) {
  DEEPLAB_GRID_STRIDE_LOOP(index, count) {
    const int64_t x = index % columns.out;
    const int64_t y = index / columns.out % rows.out;
    const int64_t plane = index / (columns.out * rows.out);
    const scalar_t* source = input + plane / channels * strides.n + plane % channels * strides.c;
    const Tap<scalar_t> ty = tap<scalar_t>(rows, y);
    const Tap<scalar_t> tx = tap<scalar_t>(columns, x);
    const scalar_t* low = source + ty.low * strides.y;
    const scalar_t* high = source + ty.high * strides.y;
    output[index] = ty.near * (tx.near * low[tx.low * strides.x] + tx.far * low[tx.high * strides.x]) +
                    ty.far * (tx.near * high[tx.low * strides.x] + tx.far * high[tx.high * strides.x]);
  }
}

// One thread per input pixel gathers from every output that read it: no atomics, so the sum has one order.
template <typename scalar_t>
__global__ void backward_kernel(const scalar_t* grad_output,  // (N, C, OH, OW)
                                scalar_t* grad_input,         // (N, C, H, W)
                                int64_t count, int64_t height, int64_t width, int64_t crop, Axis rows, Axis columns) {
  DEEPLAB_GRID_STRIDE_LOOP(index, count) {
    const int64_t x = index % width - crop;
    const int64_t y = index / width % height - crop;
    scalar_t sum = 0;
    if (x >= 0 && x < columns.in && y >= 0 && y < rows.in) {
      const scalar_t* source = grad_output + index / (width * height) * rows.out * columns.out;
      int64_t y_begin, y_end, x_begin, x_end;
      touched_range(rows, y, y_begin, y_end);
      touched_range(columns, x, x_begin, x_end);
      for (int64_t oy = y_begin; oy < y_end; ++oy) {
        const scalar_t weight_y = tap_weight<scalar_t>(rows, oy, y);
        if (weight_y == scalar_t(0)) continue;
        scalar_t row_sum = 0;
        for (int64_t ox = x_begin; ox < x_end; ++ox) {
          row_sum += tap_weight<scalar_t>(columns, ox, x) * source[oy * columns.out + ox];
        }
        sum += weight_y * row_sum;
      }
    }
    grad_input[index] = sum;
  }
}

}  // namespace

void forward_cuda(const TensorView& input, const TensorView& output, int64_t crop, int64_t crop_end, uintptr_t stream) {
  if (output.numel() == 0) return;
  DeviceGuard guard(input.device);
  dispatch_floating(input.dtype, "interp", [&](auto zero) {
    using scalar_t = decltype(zero);
    const Strides strides{input.stride(0), input.stride(1), input.stride(2), input.stride(3)};
    forward_kernel<scalar_t><<<blocks_for(output.numel()), kThreadsPerBlock, 0, as_stream(stream)>>>(
        input.ptr<const scalar_t>() + crop * (strides.y + strides.x), strides, output.ptr<scalar_t>(), output.numel(),
        input.size(1), make_axis(input.size(2) - crop - crop_end, output.size(2)),
        make_axis(input.size(3) - crop - crop_end, output.size(3)));
  });
  check_cuda(cudaGetLastError(), "interp forward");
}

void backward_cuda(const TensorView& grad_output, const TensorView& grad_input, int64_t crop, int64_t crop_end,
                   uintptr_t stream) {
  if (grad_input.numel() == 0) return;
  DeviceGuard guard(grad_input.device);
  dispatch_floating(grad_output.dtype, "interp backward", [&](auto zero) {
    using scalar_t = decltype(zero);
    backward_kernel<scalar_t><<<blocks_for(grad_input.numel()), kThreadsPerBlock, 0, as_stream(stream)>>>(
        grad_output.ptr<const scalar_t>(), grad_input.ptr<scalar_t>(), grad_input.numel(), grad_input.size(2),
        grad_input.size(3), crop, make_axis(grad_input.size(2) - crop - crop_end, grad_output.size(2)),
        make_axis(grad_input.size(3) - crop - crop_end, grad_output.size(3)));
  });
  check_cuda(cudaGetLastError(), "interp backward");
}

}  // namespace deeplab::interp
