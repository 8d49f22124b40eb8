#include <algorithm>
#include <vector>

#include "../common/parallel.h"
#include "interp.h"

namespace deeplab::interp {
namespace {

template <typename scalar_t>
std::vector<Tap<scalar_t>> taps(const ResizedAxis& axis) {
  std::vector<Tap<scalar_t>> all(axis.out);
  for (int64_t i = 0; i < axis.out; ++i) all[i] = tap<scalar_t>(axis, i);
  return all;
}

// A source row is resized along x once and then serves every output row between it and the next: with zoom 8 that saves
// seven of eight gathers, and the arithmetic stays near_y * (near_x * a + far_x * b) + far_y * (...), the original's.
template <typename scalar_t>
class ResizedRows {
 public:
  ResizedRows(const scalar_t* plane, int64_t stride_y, int64_t stride_x, const std::vector<Tap<scalar_t>>& columns)
      : plane_(plane), stride_y_(stride_y), stride_x_(stride_x), columns_(columns) {
    for (Slot& slot : slots_) slot.values.resize(columns.size());
  }

  // Valid until the call after the next.
  const scalar_t* row(int64_t y) {
    Slot& slot = slots_[y & 1];
    if (slot.y != y) {
      const scalar_t* source = plane_ + y * stride_y_;
      for (size_t x = 0; x < columns_.size(); ++x) {
        const Tap<scalar_t>& t = columns_[x];
        slot.values[x] = t.near * source[t.low * stride_x_] + t.far * source[t.high * stride_x_];
      }
      slot.y = y;
    }
    return slot.values.data();
  }

 private:
  struct Slot {
    int64_t y = -1;
    std::vector<scalar_t> values;
  };
  const scalar_t* plane_;
  int64_t stride_y_, stride_x_;
  const std::vector<Tap<scalar_t>>& columns_;
  Slot slots_[2];
};

template <typename scalar_t>
void forward_plane(ResizedRows<scalar_t> source, scalar_t* output, const std::vector<Tap<scalar_t>>& rows,
                   int64_t width) {
  for (size_t y = 0; y < rows.size(); ++y) {
    const Tap<scalar_t>& t = rows[y];
    const scalar_t* low = source.row(t.low);
    const scalar_t* high = source.row(t.high);
    scalar_t* out = output + static_cast<int64_t>(y) * width;
    for (int64_t x = 0; x < width; ++x) out[x] = t.near * low[x] + t.far * high[x];
  }
}

// The adjoint: output rows are first added up along y into the two source rows that they read. A row is distributed
// along x once all of its output rows are added: with zoom 8 only one row in eight is scattered.
template <typename scalar_t>
class GatheredRows {
 public:
  GatheredRows(scalar_t* plane, int64_t stride_y, const std::vector<Tap<scalar_t>>& columns)
      : plane_(plane), stride_y_(stride_y), columns_(columns) {
    for (Slot& slot : slots_) slot.values.resize(columns.size());
  }

  // Must be called with rising y; the row that its slot held before is then complete.
  scalar_t* row(int64_t y) {
    Slot& slot = slots_[y & 1];
    if (slot.y != y) {
      scatter(slot);
      std::fill(slot.values.begin(), slot.values.end(), scalar_t(0));
      slot.y = y;
    }
    return slot.values.data();
  }

  void finish() {
    for (const Slot& slot : slots_) scatter(slot);
  }

 private:
  struct Slot {
    int64_t y = -1;
    std::vector<scalar_t> values;
  };

  void scatter(const Slot& slot) {
    if (slot.y < 0) return;
    scalar_t* target = plane_ + slot.y * stride_y_;
    for (size_t x = 0; x < columns_.size(); ++x) {
      const Tap<scalar_t>& t = columns_[x];
      target[t.low] += t.near * slot.values[x];
      target[t.high] += t.far * slot.values[x];
    }
  }

  scalar_t* plane_;
  int64_t stride_y_;
  const std::vector<Tap<scalar_t>>& columns_;
  Slot slots_[2];
};

template <typename scalar_t>
void backward_plane(const scalar_t* grad_output, GatheredRows<scalar_t> target, const std::vector<Tap<scalar_t>>& rows,
                    int64_t width) {
  for (size_t y = 0; y < rows.size(); ++y) {
    const Tap<scalar_t>& t = rows[y];
    const scalar_t* source = grad_output + static_cast<int64_t>(y) * width;
    scalar_t* low = target.row(t.low);
    if (t.high == t.low) {
      for (int64_t x = 0; x < width; ++x) low[x] += (t.near + t.far) * source[x];
      continue;
    }
    scalar_t* high = target.row(t.high);
    for (int64_t x = 0; x < width; ++x) {
      low[x] += t.near * source[x];
      high[x] += t.far * source[x];
    }
  }
  target.finish();
}

}  // namespace

void forward_cpu(const TensorView& input, const TensorView& output, int64_t crop, int64_t crop_end,
                 bool align_corners) {
  if (output.numel() == 0) return;
  dispatch_floating(input.dtype, "interp", [&](auto zero) {
    using scalar_t = decltype(zero);
    const auto rows = taps<scalar_t>(make_axis(input.size(2) - crop - crop_end, output.size(2), align_corners));
    const auto columns = taps<scalar_t>(make_axis(input.size(3) - crop - crop_end, output.size(3), align_corners));
    const int64_t channels = input.size(1);
    const int64_t out_plane = output.size(2) * output.size(3);
    parallel_for(input.size(0) * channels, 1, [&](int64_t begin, int64_t end) {
      for (int64_t plane = begin; plane < end; ++plane) {
        const scalar_t* source = input.ptr<const scalar_t>() + plane / channels * input.stride(0) +
                                 plane % channels * input.stride(1) + crop * (input.stride(2) + input.stride(3));
        forward_plane<scalar_t>(ResizedRows<scalar_t>(source, input.stride(2), input.stride(3), columns),
                                output.ptr<scalar_t>() + plane * out_plane, rows, output.size(3));
      }
    });
  });
}

void backward_cpu(const TensorView& grad_output, const TensorView& grad_input, int64_t crop, int64_t crop_end,
                  bool align_corners) {
  if (grad_input.numel() == 0) return;
  dispatch_floating(grad_output.dtype, "interp backward", [&](auto zero) {
    using scalar_t = decltype(zero);
    const int64_t height = grad_input.size(2), width = grad_input.size(3);
    if (grad_output.numel() == 0) {
      std::fill_n(grad_input.ptr<scalar_t>(), grad_input.numel(), scalar_t(0));
      return;
    }
    const auto rows = taps<scalar_t>(make_axis(height - crop - crop_end, grad_output.size(2), align_corners));
    const auto columns = taps<scalar_t>(make_axis(width - crop - crop_end, grad_output.size(3), align_corners));
    const int64_t out_plane = grad_output.size(2) * grad_output.size(3);
    parallel_for(grad_input.size(0) * grad_input.size(1), 1, [&](int64_t begin, int64_t end) {
      for (int64_t plane = begin; plane < end; ++plane) {
        scalar_t* target = grad_input.ptr<scalar_t>() + plane * height * width;
        std::fill(target, target + height * width, scalar_t(0));
        backward_plane(grad_output.ptr<const scalar_t>() + plane * out_plane,
                       GatheredRows<scalar_t>(target + crop * (width + 1), width, columns), rows, grad_output.size(3));
      }
    });
  });
}

}  // namespace deeplab::interp
