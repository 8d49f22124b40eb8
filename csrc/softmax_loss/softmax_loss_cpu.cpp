#include <algorithm>

#include "../common/parallel.h"
#include "problem.h"

namespace deeplab::softmax_loss {
namespace {

// Part of one chunk within one item, so that its pixels are contiguous in every channel.
struct Run {
  int64_t first;  // pixel index in the batch
  int64_t count;
  int64_t item;
  int64_t offset;  // of the first pixel within its plane
};

// Calls body(chunk, run) for every run, chunk by chunk in parallel, runs of a chunk in order.
template <typename Body>
void for_each_run(int64_t pixels, int64_t plane, const Body& body) {
  parallel_for(pixels, kChunk, [&](int64_t begin, int64_t end) {
    for (int64_t first = begin; first < end;) {
      const int64_t item = first / plane, offset = first % plane;
      const int64_t count = std::min(end - first, plane - offset);
      body(begin / kChunk, Run{first, count, item, offset});
      first += count;
    }
  });
}

template <typename scalar_t>
Totals forward_run(const Problem& problem, const Run& run) {
  const int64_t plane = problem.plane(), channels = problem.channels();
  const scalar_t* scores = problem.scores.ptr<const scalar_t>() + run.item * channels * plane + run.offset;
  scalar_t* maximum = problem.stats.ptr<scalar_t>() + run.item * 2 * plane + run.offset;
  scalar_t* sum = maximum + plane;
  std::copy(scores, scores + run.count, maximum);
  for (int64_t c = 1; c < channels; ++c) {
    const scalar_t* row = scores + c * plane;
    for (int64_t i = 0; i < run.count; ++i) maximum[i] = row[i] > maximum[i] ? row[i] : maximum[i];
  }
  std::fill(sum, sum + run.count, scalar_t(0));
  for (int64_t c = 0; c < channels; ++c) {
    const scalar_t* row = scores + c * plane;
    for (int64_t i = 0; i < run.count; ++i) sum[i] += std::exp(row[i] - maximum[i]);
  }
  const scalar_t* weights = problem.weights<scalar_t>();
  Totals totals{0, 0, -1};
  for (int64_t i = 0; i < run.count; ++i) {
    const int64_t label = load_label(problem.labels.data, problem.labels.dtype, run.first + i);
    if (is_ignored(problem.ignored, label)) continue;
    if (label < 0 || label >= channels) {
      totals.add({0, 0, static_cast<double>(run.first + i)});
      continue;
    }
    const scalar_t weight = weights ? weights[label] : scalar_t(1);
    const scalar_t p = probability(scores[label * plane + i], maximum[i], sum[i]);
    totals.add({weight * negative_log_likelihood(p), weight, -1});
  }
  return totals;
}

template <typename scalar_t>
void backward_run(const Problem& problem, scalar_t scale, scalar_t* grad_scores, const Run& run) {
  const int64_t plane = problem.plane(), channels = problem.channels();
  const int64_t start = run.item * channels * plane + run.offset;
  const scalar_t* scores = problem.scores.ptr<const scalar_t>() + start;
  const scalar_t* maximum = problem.stats.ptr<const scalar_t>() + run.item * 2 * plane + run.offset;
  const scalar_t* sum = maximum + plane;
  const scalar_t* weights = problem.weights<scalar_t>();
  int64_t labels[kChunk];
  scalar_t factors[kChunk];
  for (int64_t i = 0; i < run.count; ++i) {
    labels[i] = load_label(problem.labels.data, problem.labels.dtype, run.first + i);
    const bool valid = labels[i] >= 0 && labels[i] < channels && !is_ignored(problem.ignored, labels[i]);
    factors[i] = !valid ? scalar_t(0) : weights ? weights[labels[i]] * scale : scale;
  }
  for (int64_t c = 0; c < channels; ++c) {
    const scalar_t* row = scores + c * plane;
    scalar_t* target = grad_scores + start + c * plane;
    for (int64_t i = 0; i < run.count; ++i) {
      // Not a product with 0: an ignored pixel's gradient is 0 even if its scores are not finite.
      target[i] = factors[i] == scalar_t(0)
                      ? scalar_t(0)
                      : (probability(row[i], maximum[i], sum[i]) - scalar_t(labels[i] == c)) * factors[i];
    }
  }
}

}  // namespace

void forward_cpu(const Problem& problem, const TensorView& workspace, const TensorView& loss) {
  dispatch_floating(problem.scores.dtype, "softmax_loss", [&](auto zero) {
    using scalar_t = decltype(zero);
    Totals* partial = workspace.ptr<Totals>();
    const int64_t chunks = chunks_for(problem.pixels());
    std::fill(partial, partial + chunks, Totals{0, 0, -1});
    for_each_run(problem.pixels(), problem.plane(),
                 [&](int64_t chunk, const Run& run) { partial[chunk].add(forward_run<scalar_t>(problem, run)); });
    Totals totals{0, 0, -1};
    for (int64_t chunk = 0; chunk < chunks; ++chunk) totals.add(partial[chunk]);
    *problem.totals.ptr<Totals>() = totals;
    *loss.ptr<scalar_t>() = static_cast<scalar_t>(final_loss(totals));
  });
}

void backward_cpu(const Problem& problem, const TensorView& grad_loss, const TensorView& grad_scores) {
  dispatch_floating(problem.scores.dtype, "softmax_loss backward", [&](auto zero) {
    using scalar_t = decltype(zero);
    const auto scale =
        static_cast<scalar_t>(gradient_scale(*grad_loss.ptr<const scalar_t>(), *problem.totals.ptr<const Totals>()));
    for_each_run(problem.pixels(), problem.plane(),
                 [&](int64_t, const Run& run) { backward_run(problem, scale, grad_scores.ptr<scalar_t>(), run); });
  });
}

}  // namespace deeplab::softmax_loss
