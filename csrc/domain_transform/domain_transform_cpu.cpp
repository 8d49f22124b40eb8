#include <algorithm>

#include "../common/aligned_buffer.h"
#include "../common/parallel.h"
#include "../common/simd.h"
#include "domain_transform.h"
#include "lines.h"

namespace deeplab::domain_transform {
namespace {

// Groups of channels whose edge gradients are summed apart. Fixed, so that sums have one order whatever the number of
// threads.
constexpr int64_t kGroups = 16;

// What one iteration does with one plane.
template <typename scalar_t>
struct Step {
  enum class What { kWeights, kRows, kColumns, kRowsBack, kColumnsBack };

  What what;
  Area area;
  int64_t stride;  // from row to row of a plane
  Weighting<scalar_t> weighting;
  scalar_t* weights;            // (H, W)
  scalar_t* turned_weights;     // (blocks of rows, W, kRows)
  const scalar_t* x = nullptr;  // planes; of kWeights the edges
  scalar_t* y = nullptr;
  scalar_t* grad = nullptr;
  scalar_t* edges = nullptr;  // (H, W); of kRowsBack as turned_weights

  int64_t parts() const {
    const bool columns = what == What::kColumns || what == What::kColumnsBack;
    return columns ? (area.width + kColumns - 1) / kColumns : (area.height + kRows - 1) / kRows;
  }
  int64_t scratch() const {
    switch (what) {
      case What::kRows:
        return kRows * area.width;
      case What::kRowsBack:
        return 4 * kRows * area.width;
      case What::kColumnsBack:
        return kColumns * area.height;
      default:
        return 0;
    }
  }
};

template <typename scalar_t>
DEEPLAB_ALWAYS_INLINE void run_on_rows(const Step<scalar_t>& step, int64_t part, scalar_t* scratch) {
  using What = typename Step<scalar_t>::What;
  const int64_t first = part * kRows * step.stride, size = step.area.width * kRows;
  const int64_t rows = std::min(kRows, step.area.height - part * kRows), width = step.area.width;
  scalar_t* turned = step.turned_weights + first;
  const Lines<const scalar_t> weights{turned, kRows};
  if (step.what == What::kWeights) {
    for (int64_t i = 0; i < rows; ++i) {
      const scalar_t* edges = step.x + first + i * step.stride;
      scalar_t* to = step.weights + first + i * step.stride;
      const Weighting<scalar_t> weighting = step.weighting;
#pragma GCC ivdep
      for (int64_t j = 0; j < width; ++j) to[j] = weighting(edges[j]);
    }
    turn(step.weights + first, step.stride, width, rows, turned);
    return;
  }
  turn(step.x + first, step.stride, width, rows, scratch);
  if (step.what == What::kRows) {
    filter_lines<scalar_t>({scratch, kRows}, weights, {scratch, kRows}, width, kRows);
    turn_back(scratch, width, rows, step.y + first, step.stride);
    return;
  }
  scalar_t *y = scratch + size, *middle = y + size, *grad = middle + size;
  filter_lines<scalar_t>({scratch, kRows}, weights, {y, kRows}, width, kRows);
  turn(step.grad + first, step.stride, width, rows, grad);
  filter_lines_back<scalar_t>({scratch, kRows}, weights, {y, kRows}, {middle, kRows}, {grad, kRows},
                              {step.edges + first, kRows}, step.weighting.slope(), width, kRows);
  turn_back(grad, width, rows, step.grad + first, step.stride);
}

template <typename scalar_t>
DEEPLAB_ALWAYS_INLINE void run_on_columns(const Step<scalar_t>& step, int64_t part, int64_t columns,
                                          scalar_t* scratch) {
  const int64_t first = part * kColumns, stride = step.stride;
  const Lines<const scalar_t> x{step.x + first, stride}, weights{step.weights + first, stride};
  const Lines<scalar_t> y{step.y + first, stride};
  if (step.what == Step<scalar_t>::What::kColumns) {
    filter_lines<scalar_t>(x, weights, y, step.area.height, columns);
  } else {
    filter_lines_back<scalar_t>(x, weights, {y.data, stride}, {scratch, kColumns}, {step.grad + first, stride},
                                {step.edges + first, stride}, step.weighting.slope(), step.area.height, columns);
  }
}

template <typename scalar_t>
DEEPLAB_ALWAYS_INLINE void run_part(const Step<scalar_t>& step, int64_t part, scalar_t* scratch) {
  using What = typename Step<scalar_t>::What;
  if (step.what != What::kColumns && step.what != What::kColumnsBack) {
    run_on_rows(step, part, scratch);
    return;
  }
  const int64_t columns = std::min(kColumns, step.area.width - part * kColumns);
  if (columns == kColumns) {  // a count that the compiler knows
    run_on_columns(step, part, kColumns, scratch);
  } else {
    run_on_columns(step, part, columns, scratch);
  }
}

DEEPLAB_TARGET_CLONES void run_one(const Step<float>& step, int64_t part, float* scratch) {
  run_part(step, part, scratch);
}
DEEPLAB_TARGET_CLONES void run_one(const Step<double>& step, int64_t part, double* scratch) {
  run_part(step, part, scratch);
}

// Divides parts between threads, unless the caller is one of several threads that work on planes.
template <typename scalar_t>
void run(const Step<scalar_t>& step) {
  constexpr int64_t kGrain = 2;
  parallel_for(step.parts(), kGrain, [&](int64_t begin, int64_t end) {
    AlignedBuffer<scalar_t> scratch(step.scratch());
    for (int64_t part = begin; part < end; ++part) run_one(step, part, scratch.data());
  });
}

// Divides whole planes between threads if there are enough of them, or else parts of planes.
template <typename Body>
void for_each_job(int64_t count, const Body& body) {
  if (count >= num_threads()) {
    parallel_for(count, 1, [&](int64_t begin, int64_t) { body(begin); });
  } else {
    for (int64_t job = 0; job < count; ++job) body(job);
  }
}

// The weights of one item at a time, and the steps that use them.
template <typename scalar_t>
class Item {
 public:
  using What = typename Step<scalar_t>::What;

  explicit Item(const Problem& problem)
      : problem_(problem), turned_(blocks() * kRows * problem.whole().width), weights_(iterations() * size()) {}

  // Computes the weights of an item.
  void set(int64_t item) {
    area_ = area_of(problem_.sizes, item, problem_.whole());
    for (int64_t k = 0; k < iterations(); ++k) {
      Step<scalar_t> step = at(What::kWeights, k);
      step.x = problem_.edges.ptr<const scalar_t>() + item * problem_.plane();
      run(step);
    }
  }

  Area area() const { return area_; }
  bool is_empty() const { return area_.height <= 0 || area_.width <= 0; }
  int64_t iterations() const { return problem_.settings.iterations; }
  int64_t turned() const { return turned_; }

  Step<scalar_t> at(What what, int64_t iteration) {
    scalar_t* weights = weights_.data() + iteration * size();
    return {what,
            area_,
            problem_.whole().width,
            weighting<scalar_t>(problem_.settings, iteration),
            weights,
            weights + problem_.plane()};
  }

  // Filters a plane in one iteration: rows from x to middle, columns from middle to y. The arrays may be the same.
  void filter(int64_t iteration, const scalar_t* x, scalar_t* middle, scalar_t* y) {
    Step<scalar_t> rows = at(What::kRows, iteration), columns = at(What::kColumns, iteration);
    rows.x = x;
    rows.y = middle;
    run(rows);
    columns.x = middle;
    columns.y = y;
    run(columns);
  }

 private:
  int64_t blocks() const { return (problem_.whole().height + kRows - 1) / kRows; }
  int64_t size() const { return problem_.plane() + turned_; }

  const Problem& problem_;
  int64_t turned_;
  AlignedBuffer<scalar_t> weights_;  // of each iteration: (H, W), and turned around
  Area area_{};
};

// Copies the values outside of the area; if there is no area, all values become NaN.
template <typename scalar_t>
void copy_outside(const scalar_t* from, scalar_t* to, Area area, Area whole) {
  if (area.height < 0) {
    std::fill_n(to, whole.height * whole.width, kNaN<scalar_t>);
    return;
  }
  for (int64_t y = 0; y < whole.height; ++y) {
    const int64_t row = y * whole.width, first = y < area.height ? area.width : 0;
    std::copy(from + row + first, from + row + whole.width, to + row + first);
  }
}

template <typename scalar_t>
void forward(const Problem& problem, scalar_t* output) {
  Item<scalar_t> item(problem);
  for (int64_t n = 0; n < problem.items(); ++n) {
    item.set(n);
    for_each_job(problem.channels(), [&](int64_t c) {
      const int64_t first = (n * problem.channels() + c) * problem.plane();
      const scalar_t* x = problem.x.ptr<const scalar_t>() + first;
      scalar_t* y = output + first;
      copy_outside(x, y, item.area(), problem.whole());
      if (item.is_empty()) return;
      for (int64_t k = 0; k < item.iterations(); ++k) item.filter(k, k == 0 ? x : y, y, y);
    });
  }
}

// The gradient through all iterations of one plane. `states` has room for two planes of each iteration. The result is
// added to `edges`: (H, W), followed by the transposed blocks.
template <typename scalar_t>
void plane_back(Item<scalar_t>& item, int64_t plane, const scalar_t* x, scalar_t* states, scalar_t* grad,
                scalar_t* edges) {
  using What = typename Step<scalar_t>::What;
  const auto middle = [&](int64_t k) { return states + 2 * k * plane; };
  const auto before = [&](int64_t k) { return k == 0 ? x : states + (2 * k - 1) * plane; };
  for (int64_t k = 0; k < item.iterations(); ++k) item.filter(k, before(k), middle(k), middle(k) + plane);
  for (int64_t k = item.iterations() - 1; k >= 0; --k) {
    Step<scalar_t> columns = item.at(What::kColumnsBack, k), rows = item.at(What::kRowsBack, k);
    columns.x = middle(k);
    columns.y = middle(k) + plane;
    columns.edges = edges;
    rows.x = before(k);
    rows.edges = edges + plane;
    rows.grad = columns.grad = grad;
    run(columns);
    run(rows);
  }
}

// Sums the groups' edge gradients, in their order.
template <typename scalar_t>
void add_groups(const scalar_t* edges, int64_t groups, int64_t step, int64_t plane, int64_t width, scalar_t* sum) {
  const int64_t rows = width > 0 ? plane / width : 0;
  parallel_for(rows, kRows, [&](int64_t begin, int64_t end) {
    std::fill(sum + begin * width, sum + end * width, scalar_t(0));
    for (int64_t group = 0; group < groups; ++group) {
      const scalar_t *straight = edges + group * step, *turned = straight + plane;
      for (int64_t y = begin; y < end; ++y) {
        const scalar_t* column = turned + y / kRows * kRows * width + y % kRows;
        for (int64_t x = 0; x < width; ++x) sum[y * width + x] += straight[y * width + x] + column[x * kRows];
      }
    }
  });
}

template <typename scalar_t>
void backward(const Problem& problem, const scalar_t* grad, scalar_t* grad_x, scalar_t* grad_edges) {
  const int64_t channels = problem.channels(), plane = problem.plane();
  const int64_t per_group = std::max<int64_t>((channels + kGroups - 1) / kGroups, 1);
  const int64_t groups = (channels + per_group - 1) / per_group;
  Item<scalar_t> item(problem);
  const int64_t step = plane + item.turned();
  AlignedBuffer<scalar_t> edges(groups * step);
  for (int64_t n = 0; n < problem.items(); ++n) {
    item.set(n);
    for_each_job(groups, [&](int64_t group) {
      scalar_t* sum = edges.data() + group * step;
      std::fill_n(sum, step, scalar_t(0));
      AlignedBuffer<scalar_t> states(2 * item.iterations() * plane);
      for (int64_t c = group * per_group; c < std::min(channels, (group + 1) * per_group); ++c) {
        const int64_t first = (n * channels + c) * plane;
        copy_outside(grad + first, grad_x + first, {item.area().height < 0 ? -1 : 0, 0}, problem.whole());
        if (item.is_empty()) continue;
        plane_back(item, plane, problem.x.ptr<const scalar_t>() + first, states.data(), grad_x + first, sum);
      }
    });
    add_groups(edges.data(), groups, step, plane, problem.whole().width, grad_edges + n * plane);
    if (item.area().height < 0) std::fill_n(grad_edges + n * plane, plane, kNaN<scalar_t>);
  }
}

}  // namespace

void forward_cpu(const Problem& problem, const TensorView& output) {
  if (output.numel() == 0) return;
  dispatch_floating(problem.x.dtype, "domain_transform",
                    [&](auto zero) { forward(problem, output.ptr<decltype(zero)>()); });
}

void backward_cpu(const Problem& problem, const TensorView& grad, const TensorView& grad_x,
                  const TensorView& grad_edges, const TensorView&) {
  if (grad_edges.numel() == 0) return;
  dispatch_floating(problem.x.dtype, "domain_transform backward", [&](auto zero) {
    using scalar_t = decltype(zero);
    backward(problem, grad.ptr<const scalar_t>(), grad_x.ptr<scalar_t>(), grad_edges.ptr<scalar_t>());
  });
}

}  // namespace deeplab::domain_transform
