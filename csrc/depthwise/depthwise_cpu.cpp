#include <algorithm>
#include <vector>

#include "../common/parallel.h"
#include "depthwise.h"
#include "plan.h"
#include "taps.h"

namespace deeplab::depthwise {
namespace {

// Products per chunk of work, which take about a hundred microseconds.
constexpr int64_t kChunk = 1 << 20;

int64_t grain(int64_t work) { return std::max<int64_t>(1, kChunk / std::max<int64_t>(1, work)); }

// Copies the pixels of a phase along a row, from the plane's row and back.
template <typename scalar_t>
DEEPLAB_ALWAYS_INLINE void gather(const scalar_t* from, int64_t stride, scalar_t* to, int64_t count) {
  if (stride == 1) {
    std::copy(from, from + count, to);
  } else {
    for (int64_t i = 0; i < count; ++i) to[i] = from[i * stride];
  }
}

template <typename scalar_t>
DEEPLAB_ALWAYS_INLINE void scatter(const scalar_t* from, scalar_t* to, int64_t stride, int64_t count) {
  if (stride == 1) {
    std::copy(from, from + count, to);
  } else {
    for (int64_t i = 0; i < count; ++i) to[i * stride] = from[i];
  }
}

// Copies a plane of the input into its buffer, whose padding has been zero since it was allocated.
template <typename scalar_t>
DEEPLAB_ALWAYS_INLINE void take_apart(const Plan& plan, const scalar_t* plane, scalar_t* buffer) {
  for (const Plan::Phase& phase : plan.phases) {
    const int64_t columns = phase.x.end - phase.x.begin;
    if (columns == 0) continue;
    for (int64_t row = phase.y.begin; row < phase.y.end; ++row) {
      const int64_t from = phase.y.first + (row - phase.y.begin) * plan.y.axis.stride;
      gather(plane + from * plan.x.axis.in + phase.x.first, plan.x.axis.stride,
             buffer + phase.start + row * plan.pitch + phase.x.begin, columns);
    }
  }
}

template <typename scalar_t>
struct ForwardJob {
  const Plan& plan;
  const scalar_t *x, *weight, *bias;  // of all planes
  scalar_t* y;
  int64_t channels;
};

template <typename scalar_t>
DEEPLAB_ALWAYS_INLINE void forward_plane(const ForwardJob<scalar_t>& job, int64_t index, scalar_t* buffer,
                                         scalar_t* sums) {
  const Plan& plan = job.plan;
  const int64_t channel = index % job.channels, width = plan.x.axis.out, height = plan.y.axis.out;
  const scalar_t* weight = job.weight + channel * plan.taps();
  take_apart(plan, job.x + index * plan.in_plane(), buffer);
  const int64_t rows = std::max<int64_t>(1, kSpan / plan.pitch);
  for (int64_t begin = 0; begin < height; begin += rows) {
    const int64_t end = std::min(begin + rows, height), span = (end - begin - 1) * plan.pitch + width;
    std::fill(sums, sums + span, job.bias ? job.bias[channel] : scalar_t(0));
    for_groups(plan.taps(), [&](int64_t first, auto numbers) DEEPLAB_INLINE_LAMBDA {
      const scalar_t* from[kMostTaps];
      for (size_t t = 0; t < numbers.size(); ++t) from[t] = buffer + plan.reads[first + t] + begin * plan.pitch;
      add_taps(from, weight + first, sums, span, numbers);
    });
    scalar_t* target = job.y + index * plan.out_plane() + begin * width;
    for (int64_t row = 0; row < end - begin; ++row) {
      std::copy(sums + row * plan.pitch, sums + row * plan.pitch + width, target + row * width);
    }
  }
}

// Size of the sums of some rows, stored with the pitch.
int64_t sums_size(const Plan& plan) { return std::max(kSpan, plan.pitch); }

template <typename scalar_t>
DEEPLAB_ALWAYS_INLINE void forward_planes(const ForwardJob<scalar_t>& job, int64_t begin, int64_t end) {
  std::vector<scalar_t> buffer(job.plan.buffer_size()), sums(sums_size(job.plan));
  for (int64_t plane = begin; plane < end; ++plane) forward_plane(job, plane, buffer.data(), sums.data());
}

template <typename scalar_t>
struct BackwardJob {
  const Plan& plan;
  const scalar_t *grad, *x, *weight;
  scalar_t *grad_x, *grad_weight;  // or null
  int64_t images, channels;
};

// The gradient of the input: each phase sums over its taps, from the outputs' gradient stored with the pitch.
template <typename scalar_t>
DEEPLAB_ALWAYS_INLINE void input_gradient(const Plan& plan, const scalar_t* weight, const scalar_t* grad,
                                          scalar_t* target, scalar_t* sums) {
  if (!plan.covers()) std::fill(target, target + plan.in_plane(), scalar_t(0));
  const int64_t rows = std::max<int64_t>(1, kSpan / plan.pitch);
  for (const Plan::Phase& phase : plan.phases) {
    const int64_t columns = phase.x.end - phase.x.begin;
    if (columns == 0) continue;
    for (int64_t begin = phase.y.begin; begin < phase.y.end; begin += rows) {
      const int64_t end = std::min(begin + rows, phase.y.end), span = (end - begin - 1) * plan.pitch + columns;
      const scalar_t* here = grad + begin * plan.pitch + phase.x.begin;
      std::fill(sums, sums + span, scalar_t(0));
      for_groups(static_cast<int64_t>(phase.taps.size()), [&](int64_t first, auto numbers) DEEPLAB_INLINE_LAMBDA {
        const scalar_t* from[kMostTaps];
        scalar_t weights[kMostTaps];
        for (size_t t = 0; t < numbers.size(); ++t) {
          from[t] = here - phase.taps[first + t].offset;
          weights[t] = weight[phase.taps[first + t].index];
        }
        add_taps(from, weights, sums, span, numbers);
      });
      for (int64_t row = begin; row < end; ++row) {
        const int64_t to = phase.y.first + (row - phase.y.begin) * plan.y.axis.stride;
        scatter(sums + (row - begin) * plan.pitch, target + to * plan.x.axis.in + phase.x.first, plan.x.axis.stride,
                columns);
      }
    }
  }
}

template <typename scalar_t>
DEEPLAB_ALWAYS_INLINE void weight_gradient(const Plan& plan, const scalar_t* buffer, const scalar_t* grad,
                                           double* totals) {
  const int64_t steps = (plan.out_span() + kStep<scalar_t> - 1) / kStep<scalar_t>, all = steps * kStep<scalar_t>;
  for (int64_t begin = 0; begin < all; begin += kSpan) {
    const int64_t count = std::min(kSpan, all - begin);
    for_groups(plan.taps(), [&](int64_t first, auto numbers) DEEPLAB_INLINE_LAMBDA {
      const scalar_t* from[kMostTaps];
      for (size_t t = 0; t < numbers.size(); ++t) from[t] = buffer + plan.reads[first + t] + begin;
      add_products(from, grad + begin, totals + first, count, numbers);
    });
  }
}

template <typename scalar_t>
DEEPLAB_ALWAYS_INLINE void backward_channels(const BackwardJob<scalar_t>& job, int64_t begin, int64_t end) {
  const Plan& plan = job.plan;
  // Zeros before and behind the gradient, because taps with offsets, and the gaps, read them.
  std::vector<scalar_t> grad(plan.most_offset + plan.phase_size + kStep<scalar_t>), sums(sums_size(plan));
  std::vector<scalar_t> buffer(job.grad_weight ? plan.buffer_size() + kStep<scalar_t> : 0);
  std::vector<double> totals(plan.taps());
  scalar_t* rows = grad.data() + plan.most_offset;
  for (int64_t channel = begin; channel < end; ++channel) {
    std::fill(totals.begin(), totals.end(), 0.);
    for (int64_t image = 0; image < job.images; ++image) {
      const int64_t index = image * job.channels + channel, width = plan.x.axis.out;
      const scalar_t* from = job.grad + index * plan.out_plane();
      for (int64_t row = 0; row < plan.y.axis.out; ++row) {
        std::copy(from + row * width, from + (row + 1) * width, rows + row * plan.pitch);
      }
      if (job.grad_weight) {
        take_apart(plan, job.x + index * plan.in_plane(), buffer.data());
        weight_gradient(plan, buffer.data(), rows, totals.data());
      }
      if (job.grad_x) {
        input_gradient(plan, job.weight + channel * plan.taps(), rows, job.grad_x + index * plan.in_plane(),
                       sums.data());
      }
    }
    if (job.grad_weight) {
      for (int64_t t = 0; t < plan.taps(); ++t) {
        job.grad_weight[channel * plan.taps() + t] = static_cast<scalar_t>(totals[t]);
      }
    }
  }
}

DEEPLAB_TARGET_CLONES void run(const ForwardJob<float>& job, int64_t begin, int64_t end) {
  forward_planes(job, begin, end);
}
DEEPLAB_TARGET_CLONES void run(const ForwardJob<double>& job, int64_t begin, int64_t end) {
  forward_planes(job, begin, end);
}
DEEPLAB_TARGET_CLONES void run(const BackwardJob<float>& job, int64_t begin, int64_t end) {
  backward_channels(job, begin, end);
}
DEEPLAB_TARGET_CLONES void run(const BackwardJob<double>& job, int64_t begin, int64_t end) {
  backward_channels(job, begin, end);
}

template <typename scalar_t>
scalar_t* pointer(const TensorView* tensor) {
  return tensor ? tensor->ptr<scalar_t>() : nullptr;
}

}  // namespace

void forward_cpu(const TensorView& x, const TensorView& weight, const TensorView* bias, const TensorView& y,
                 const Geometry& geometry) {
  if (y.numel() == 0) return;
  const Plan plan(geometry);
  dispatch_floating(x.dtype, "depthwise_conv2d", [&](auto zero) {
    using scalar_t = decltype(zero);
    const ForwardJob<scalar_t> job{plan,
                                   x.ptr<const scalar_t>(),
                                   weight.ptr<const scalar_t>(),
                                   pointer<const scalar_t>(bias),
                                   y.ptr<scalar_t>(),
                                   x.size(1)};
    parallel_for(x.size(0) * x.size(1), grain(plan.work()), [&](int64_t begin, int64_t end) { run(job, begin, end); });
  });
}

void backward_cpu(const TensorView& grad, const TensorView& x, const TensorView& weight, const TensorView* grad_x,
                  const TensorView* grad_weight, const Geometry& geometry) {
  const Plan plan(geometry);
  dispatch_floating(x.dtype, "depthwise_conv2d backward", [&](auto zero) {
    using scalar_t = decltype(zero);
    const BackwardJob<scalar_t> job{plan,
                                    grad.ptr<const scalar_t>(),
                                    x.ptr<const scalar_t>(),
                                    weight.ptr<const scalar_t>(),
                                    pointer<scalar_t>(grad_x),
                                    pointer<scalar_t>(grad_weight),
                                    x.size(0),
                                    x.size(1)};
    const int64_t work = 2 * std::max<int64_t>(1, job.images) * plan.work();
    parallel_for(job.channels, grain(work), [&](int64_t begin, int64_t end) { run(job, begin, end); });
  });
}

}  // namespace deeplab::depthwise
