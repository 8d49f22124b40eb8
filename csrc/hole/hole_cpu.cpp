#include <algorithm>

#include "../common/parallel.h"
#include "hole.h"

namespace deeplab::hole {
namespace {

// Elements of work per chunk: for fewer, scheduling the chunk costs more than the work.
constexpr int64_t kChunk = 1 << 14;

int64_t grain(int64_t elements_per_item) {
  return std::max<int64_t>(1, kChunk / std::max<int64_t>(1, elements_per_item));
}

// One row of the column matrix: the input that one tap (ky, kx) of one channel reads for every output pixel.
template <typename scalar_t>
void im2col_row(const scalar_t* plane, int64_t stride_y, int64_t stride_x, scalar_t* row, const Geometry& geometry,
                int64_t ky, int64_t kx) {
  const Axis &vertical = geometry.y, &horizontal = geometry.x;
  int64_t y_begin, y_end, x_begin, x_end;
  inside(vertical, ky, y_begin, y_end);
  inside(horizontal, kx, x_begin, x_end);
  if (x_begin == x_end) y_begin = y_end = 0;  // all outside
  std::fill(row, row + y_begin * horizontal.out, scalar_t(0));
  for (int64_t y = y_begin; y < y_end; ++y) {
    scalar_t* target = row + y * horizontal.out;
    const scalar_t* from = plane + source(vertical, y, ky) * stride_y + source(horizontal, x_begin, kx) * stride_x;
    const int64_t step = horizontal.stride * stride_x;
    std::fill(target, target + x_begin, scalar_t(0));
    if (step == 1) {
      std::copy(from, from + (x_end - x_begin), target + x_begin);
    } else {
      for (int64_t x = x_begin; x < x_end; ++x) target[x] = from[(x - x_begin) * step];
    }
    std::fill(target + x_end, target + horizontal.out, scalar_t(0));
  }
  std::fill(row + y_end * horizontal.out, row + vertical.out * horizontal.out, scalar_t(0));
}

template <typename scalar_t>
void col2im_row(const scalar_t* row, scalar_t* plane, const Geometry& geometry, int64_t ky, int64_t kx) {
  const Axis &vertical = geometry.y, &horizontal = geometry.x;
  int64_t y_begin, y_end, x_begin, x_end;
  inside(vertical, ky, y_begin, y_end);
  inside(horizontal, kx, x_begin, x_end);
  const int64_t count = x_end - x_begin;
  if (count <= 0) return;
  for (int64_t y = y_begin; y < y_end; ++y) {
    const scalar_t* from = row + y * horizontal.out + x_begin;
    scalar_t* target = plane + source(vertical, y, ky) * horizontal.in + source(horizontal, x_begin, kx);
    if (horizontal.stride == 1) {
      for (int64_t x = 0; x < count; ++x) target[x] += from[x];
    } else {
      for (int64_t x = 0; x < count; ++x) target[x * horizontal.stride] += from[x];
    }
  }
}

}  // namespace

void im2col_cpu(const TensorView& input, const TensorView& columns, const Geometry& geometry) {
  if (columns.numel() == 0) return;
  dispatch_floating(input.dtype, "im2col", [&](auto zero) {
    using scalar_t = decltype(zero);
    if (input.numel() == 0) {  // its pointer may be null
      std::fill_n(columns.ptr<scalar_t>(), columns.numel(), scalar_t(0));
      return;
    }
    const int64_t kernel_h = geometry.y.kernel, kernel_w = geometry.x.kernel;
    const int64_t channels = input.size(1);
    const int64_t out_plane = geometry.y.out * geometry.x.out;
    parallel_for(columns.size(0) * columns.size(1), grain(out_plane), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const int64_t plane = row / (kernel_h * kernel_w);
        im2col_row(
            input.ptr<const scalar_t>() + plane / channels * input.stride(0) + plane % channels * input.stride(1),
            input.stride(2), input.stride(3), columns.ptr<scalar_t>() + row * out_plane, geometry,
            row / kernel_w % kernel_h, row % kernel_w);
      }
    });
  });
}

// One thread handles a whole plane, so that the sums have a fixed order.
void col2im_cpu(const TensorView& columns, const TensorView& output, const Geometry& geometry) {
  if (output.numel() == 0) return;
  dispatch_floating(output.dtype, "col2im", [&](auto zero) {
    using scalar_t = decltype(zero);
    const int64_t kernel_h = geometry.y.kernel, kernel_w = geometry.x.kernel;
    const int64_t in_plane = geometry.y.in * geometry.x.in;
    const int64_t out_plane = geometry.y.out * geometry.x.out;
    const int64_t work = kernel_h * kernel_w * out_plane + in_plane;
    parallel_for(output.size(0) * output.size(1), grain(work), [&](int64_t begin, int64_t end) {
      for (int64_t plane = begin; plane < end; ++plane) {
        scalar_t* target = output.ptr<scalar_t>() + plane * in_plane;
        const scalar_t* row = columns.ptr<const scalar_t>() + plane * kernel_h * kernel_w * out_plane;
        std::fill(target, target + in_plane, scalar_t(0));
        for (int64_t ky = 0; ky < kernel_h; ++ky) {
          for (int64_t kx = 0; kx < kernel_w; ++kx, row += out_plane) col2im_row(row, target, geometry, ky, kx);
        }
      }
    });
  });
}

}  // namespace deeplab::hole
