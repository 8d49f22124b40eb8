#include <algorithm>
#include <limits>
#include <type_traits>
#include <vector>

#include "../common/parallel.h"
#include "../interp/columns.h"
#include "interp_argmax.h"

namespace deeplab::interp_argmax {
namespace {

using interp::Columns;
using interp::ResizedAxis;
using interp::RowRun;

// A block of rows and columns whose leaders stay in the first-level cache during the loop over all channels.
constexpr int64_t kRows = 8;
constexpr int64_t kColumns = 256;
// Runs of columns shorter than this are computed together with their neighbours instead of separately.
constexpr int64_t kShortest = 8;
// Finding the coarse pixels' leaders pays if each serves at least this many pixels.
constexpr int64_t kPixelsPerLeader = 4;

// The integer type as wide as the scores, so that one vector mask serves values and channels.
template <typename scalar_t>
using index_t = std::conditional_t<sizeof(scalar_t) == 4, int32_t, int64_t>;

template <typename scalar_t>
struct Block {
  scalar_t values[kRows][kColumns];
  index_t<scalar_t> channels[kRows][kColumns];
};

// One channel's source values for a block: two rows, and how to read them.
template <typename scalar_t>
struct Patch {
  const scalar_t* low;   // values of the lower source row from column `origin` on
  const scalar_t* high;  // the same of the higher
  int64_t origin;
  const Columns<scalar_t>* columns;
  int64_t begin, count;               // columns of the block
  const interp::Tap<scalar_t>* rows;  // of the block
  int64_t row_count;
};

template <bool last, typename scalar_t>
DEEPLAB_ALWAYS_INLINE void pass_channel(const Patch<scalar_t>& patch, int64_t channel, Block<scalar_t>& block) {
  scalar_t low[kColumns], high[kColumns];
  const Columns<scalar_t>& columns = *patch.columns;
  const auto resize = [&](const scalar_t* source, scalar_t* target) DEEPLAB_INLINE_LAMBDA {
    interp::resize_row(source, patch.origin, columns.near.data() + patch.begin, columns.far.data() + patch.begin,
                       columns.low.data() + patch.begin, columns.high.data() + patch.begin, patch.count, target);
  };
  resize(patch.low, low);
  resize(patch.high, high);
  const auto mine = static_cast<index_t<scalar_t>>(channel);
  for (int64_t r = 0; r < patch.row_count; ++r) {
    const scalar_t near = patch.rows[r].near, far = patch.rows[r].far;
    scalar_t* values = block.values[r];
    index_t<scalar_t>* channels = block.channels[r];
    if (channel == 0) {
      for (int64_t i = 0; i < patch.count; ++i) {
        values[i] = near * low[i] + far * high[i];
        channels[i] = 0;
      }
      continue;
    }
    for (int64_t i = 0; i < patch.count; ++i) {
      const scalar_t value = near * low[i] + far * high[i];
      const bool taken = argmax::takes_lead<last>(value, values[i]);
      values[i] = taken ? value : values[i];
      channels[i] = taken ? mine : channels[i];
    }
  }
}

// Functions, not templates: only functions can be compiled for several processors.
DEEPLAB_TARGET_CLONES
void pass(std::true_type, const Patch<float>& patch, int64_t channel, Block<float>& block) {
  pass_channel<true>(patch, channel, block);
}
DEEPLAB_TARGET_CLONES
void pass(std::false_type, const Patch<float>& patch, int64_t channel, Block<float>& block) {
  pass_channel<false>(patch, channel, block);
}
DEEPLAB_TARGET_CLONES
void pass(std::true_type, const Patch<double>& patch, int64_t channel, Block<double>& block) {
  pass_channel<true>(patch, channel, block);
}
DEEPLAB_TARGET_CLONES
void pass(std::false_type, const Patch<double>& patch, int64_t channel, Block<double>& block) {
  pass_channel<false>(patch, channel, block);
}

// Updates the leaders of neighbouring coarse pixels by one more channel; `gap` holds the second best value until the
// last channel.
template <typename scalar_t>
DEEPLAB_ALWAYS_INLINE void lead_channel(const scalar_t* row, int32_t channel, int64_t width, scalar_t* value,
                                        scalar_t* second, index_t<scalar_t>* leader) {
  for (int64_t x = 0; x < width; ++x) {
    const bool leads = row[x] > value[x];
    const scalar_t beaten = leads ? value[x] : row[x];
    second[x] = beaten > second[x] ? beaten : second[x];
    value[x] = leads ? row[x] : value[x];
    leader[x] = leads ? static_cast<index_t<scalar_t>>(channel) : leader[x];
  }
}
DEEPLAB_TARGET_CLONES
void lead(const float* row, int32_t channel, int64_t width, float* value, float* second, int32_t* leader) {
  lead_channel(row, channel, width, value, second, leader);
}
DEEPLAB_TARGET_CLONES
void lead(const double* row, int32_t channel, int64_t width, double* value, double* second, int64_t* leader) {
  lead_channel(row, channel, width, value, second, leader);
}

template <typename stored_t>
struct Scores {
  explicit Scores(const TensorView& view) : view(view), data(view.ptr<const stored_t>()) {}
  const stored_t* row(int64_t item, int64_t channel, int64_t y) const {
    return data + item * view.stride(0) + channel * view.stride(1) + y * view.stride(2);
  }
  const TensorView& view;
  const stored_t* data;
};

// (N * H, W)
template <typename stored_t>
std::vector<Leader<compute_t<stored_t>>> find_leaders(const Scores<stored_t>& scores) {
  using scalar_t = compute_t<stored_t>;
  const TensorView& view = scores.view;
  const int64_t height = view.size(2), width = view.size(3);
  std::vector<Leader<scalar_t>> leaders(view.size(0) * height * width);
  parallel_for(view.size(0) * height, 4, [&](int64_t begin, int64_t end) {
    std::vector<scalar_t> value(width), second(width), scratch(width);
    std::vector<index_t<scalar_t>> leader(width);
    for (int64_t row = begin; row < end; ++row) {
      constexpr scalar_t kLowest = -std::numeric_limits<scalar_t>::infinity();
      std::fill(value.begin(), value.end(), kLowest);
      std::fill(second.begin(), second.end(), kLowest);
      std::fill(leader.begin(), leader.end(), index_t<scalar_t>(0));
      for (int64_t c = 0; c < view.size(1); ++c) {
        const stored_t* source = scores.row(row / height, c, row % height);
        lead(interp::widened(source, view.stride(3), 0, width, scratch.data()), static_cast<int32_t>(c), width,
             value.data(), second.data(), leader.data());
      }
      for (int64_t x = 0; x < width; ++x) {
        leaders[row * width + x] = {value[x], value[x] - second[x], static_cast<int32_t>(leader[x])};
      }
    }
  });
  return leaders;
}

struct Span {
  int64_t begin, end;  // columns of the window
};

template <bool last, typename stored_t, typename label_t>
class Labeller {
  using scalar_t = compute_t<stored_t>;

 public:
  Labeller(const TensorView& scores, const TensorView& labels, const ResizedAxis& rows, const ResizedAxis& columns,
           const interp::Window& window)
      : scores_(scores),
        labels_(labels.ptr<label_t>()),
        rows_(rows),
        window_(window),
        columns_(columns, window.left, window.width),
        runs_(interp::row_runs(rows, window.top, window.height, kRows)) {
    if (window.height * window.width >= kPixelsPerLeader * scores.size(2) * scores.size(3)) {
      leaders_ = find_leaders(scores_);
    }
  }

  void run(int64_t items) const {
    const int64_t runs = static_cast<int64_t>(runs_.size());
    parallel_for(items * runs, 1, [&](int64_t begin, int64_t end) {
      std::vector<scalar_t> scratch(2 * scores_.view.size(3));
      std::vector<Span> spans;
      for (int64_t index = begin; index < end; ++index) {
        const int64_t item = index / runs;
        const RowRun& run = runs_[index % runs];
        find_spans(item, run, spans);
        for (const Span& span : spans) {
          for (int64_t x = span.begin; x < span.end; x += kColumns) {
            compute(item, run, x, std::min(kColumns, span.end - x), scratch.data());
          }
        }
      }
    });
  }

 private:
  label_t* row(int64_t item, int64_t y) const {
    return labels_ + (item * window_.height + y - window_.top) * window_.width;
  }

  // Writes the labels of the cells that have one leading channel; `spans` are the remaining columns, to be computed.
  void find_spans(int64_t item, const RowRun& run, std::vector<Span>& spans) const {
    spans.clear();
    if (leaders_.empty()) {
      spans.push_back({0, window_.width});
      return;
    }
    const int64_t width = scores_.view.size(3);
    const Leader<scalar_t>* low = leaders_.data() + (item * scores_.view.size(2) + run.low) * width;
    const Leader<scalar_t>* high = low + (run.high - run.low) * width;
    for (int64_t x = 0; x < window_.width;) {
      const int64_t left = columns_.low[x], right = columns_.high[x];
      // A run of cells with one leading channel, or of cells without a leader.
      const int32_t channel = low[left].channel;
      bool led = leads_between(low[left], low[right], high[left], high[right]);
      int64_t end = x, cell = left;
      for (; end < window_.width; ++end) {
        if (columns_.low[end] == cell) continue;
        cell = columns_.low[end];
        const int64_t next = columns_.high[end];
        const bool also_led = leads_between(low[cell], low[next], high[cell], high[next]);
        if (led ? !also_led || low[cell].channel != channel : also_led) break;
      }
      led = led && end - x >= kShortest;
      if (led) {
        for (int64_t y = run.begin; y < run.end; ++y) {
          std::fill(row(item, y) + x, row(item, y) + end, static_cast<label_t>(channel));
        }
      } else if (!spans.empty() && spans.back().end == x) {
        spans.back().end = end;
      } else {
        spans.push_back({x, end});
      }
      x = end;
    }
  }

  void compute(int64_t item, const RowRun& run, int64_t x, int64_t count, scalar_t* scratch) const {
    Block<scalar_t> block;
    interp::Tap<scalar_t> taps[kRows];
    for (int64_t y = run.begin; y < run.end; ++y) taps[y - run.begin] = interp::tap<scalar_t>(rows_, y);
    const int64_t origin = columns_.low[x], end = columns_.high[x + count - 1] + 1;
    const int64_t stride = scores_.view.stride(3);
    for (int64_t c = 0; c < scores_.view.size(1); ++c) {
      const scalar_t* low = interp::widened(scores_.row(item, c, run.low), stride, origin, end, scratch);
      const scalar_t* high =
          interp::widened(scores_.row(item, c, run.high), stride, origin, end, scratch + (end - origin));
      pass(std::bool_constant<last>{}, {low, high, origin, &columns_, x, count, taps, run.end - run.begin}, c, block);
    }
    for (int64_t y = run.begin; y < run.end; ++y) {
      const index_t<scalar_t>* channels = block.channels[y - run.begin];
      label_t* target = row(item, y) + x;
      for (int64_t i = 0; i < count; ++i) target[i] = static_cast<label_t>(channels[i]);
    }
  }

  Scores<stored_t> scores_;
  label_t* labels_;
  ResizedAxis rows_;
  interp::Window window_;
  Columns<scalar_t> columns_;
  std::vector<RowRun> runs_;
  std::vector<Leader<scalar_t>> leaders_;  // (N, H, W), or empty
};

}  // namespace

void labels_cpu(const TensorView& scores, const TensorView& labels, int64_t height, int64_t width,
                const interp::Window& window, bool align_corners, bool last) {
  if (labels.numel() == 0) return;
  const ResizedAxis rows = interp::make_axis(scores.size(2), height, align_corners),
                    columns = interp::make_axis(scores.size(3), width, align_corners);
  dispatch_stored(scores.dtype, "interp_argmax", [&](auto stored) {
    argmax::dispatch_labels(labels.dtype, last, [&](auto ties, auto label) {
      Labeller<decltype(ties)::value, decltype(stored), decltype(label)>(scores, labels, rows, columns, window)
          .run(scores.size(0));
    });
  });
}

}  // namespace deeplab::interp_argmax
