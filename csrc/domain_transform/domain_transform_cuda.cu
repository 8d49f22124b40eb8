#include <algorithm>

#include "../common/device_runtime.h"
#include "../common/kernel_launch.h"
#include "domain_transform.h"
#ifdef DEEPLAB_WITH_CUDA
#include "domain_transform_kernels.cuh"
#endif

namespace deeplab::domain_transform {
namespace {

constexpr const char* kSource = "domain_transform/domain_transform_kernels.cuh";
// Elements of the planes that a backward pass works on at once, unless its scratch is smaller: enough to fill a GPU.
constexpr int64_t kNumbersAtOnce = int64_t{1} << 22;

// Values that are kept for each element: the input of each pass, and the gradient of its edge.
int64_t kept(const Problem& problem) { return 4 * problem.settings.iterations + 1; }

template <typename scalar_t>
Planes<scalar_t> planes_of(const Problem& problem, int64_t first, int64_t count, int64_t iteration) {
  return {first,
          count,
          problem.channels(),
          problem.whole(),
          problem.edges.ptr<const scalar_t>(),
          problem.sizes,
          weighting<scalar_t>(problem.settings, iteration)};
}

template <typename rows_t>
Launch launch_over_lines(const char* what, const Problem& problem, uintptr_t stream, int64_t planes) {
  constexpr int64_t kLines = rows_t::value ? 4 : 16;  // of a block, as Lanes has them
  constexpr int64_t kMostPlanes = 65535;              // of a grid's second dimension
  const int64_t lines = rows_t::value ? problem.whole().height : problem.whole().width;
  return {what,
          problem.x.device,
          stream,
          {static_cast<unsigned int>((lines + kLines - 1) / kLines),
           static_cast<unsigned int>(std::min(planes, kMostPlanes)), 1},
          {kThreadsPerBlock, 1, 1}};
}

template <typename rows_t, typename scalar_t>
void filter(const Problem& problem, uintptr_t stream, const Planes<scalar_t>& planes, const scalar_t* x,
            scalar_t* middle, scalar_t* y, bool copies) {
  launch_kernel(launch_over_lines<rows_t>("domain_transform", problem, stream, planes.count),
                DEEPLAB_KERNEL(kSource, deeplab::domain_transform::filter_kernel, scalar_t, rows_t), x, middle, y,
                planes, copies);
}

template <typename rows_t, typename scalar_t>
void filter_back(const Problem& problem, uintptr_t stream, const Planes<scalar_t>& planes, const scalar_t* x,
                 const scalar_t* middle, const scalar_t* y, const scalar_t* grad_y, scalar_t* grad_x, scalar_t* edges,
                 bool copies) {
  launch_kernel(launch_over_lines<rows_t>("domain_transform backward", problem, stream, planes.count),
                DEEPLAB_KERNEL(kSource, deeplab::domain_transform::adjoint_kernel, scalar_t, rows_t), x, middle, y,
                grad_y, grad_x, edges, planes, copies);
}

// The gradients of some planes.
template <typename scalar_t>
void backward_of(const Problem& problem, int64_t first, int64_t count, const scalar_t* grad, scalar_t* grad_x,
                 scalar_t* grad_edges, scalar_t* scratch, uintptr_t stream) {
  const int64_t numbers = count * problem.plane(), iterations = problem.settings.iterations;
  const scalar_t* x = problem.x.ptr<const scalar_t>() + first * problem.plane();
  scalar_t *edges = scratch, *states = scratch + numbers;
  const auto state = [&](int64_t k, int64_t pass) { return states + (4 * k + pass) * numbers; };
  const auto before = [&](int64_t k) { return k == 0 ? x : state(k - 1, 3); };
  for (int64_t k = 0; k < iterations; ++k) {
    const auto planes = planes_of<scalar_t>(problem, first, count, k);
    filter<std::true_type, scalar_t>(problem, stream, planes, before(k), state(k, 0), state(k, 1), false);
    filter<std::false_type, scalar_t>(problem, stream, planes, state(k, 1), state(k, 2), state(k, 3), false);
  }
  set_bytes(problem.x.device, edges, 0, numbers * static_cast<int64_t>(sizeof(scalar_t)), stream);
  for (int64_t k = iterations - 1; k >= 0; --k) {
    const auto planes = planes_of<scalar_t>(problem, first, count, k);
    const bool last = k == iterations - 1;
    filter_back<std::false_type, scalar_t>(problem, stream, planes, state(k, 1), state(k, 2), state(k, 3),
                                           last ? grad : grad_x, grad_x, edges, last);
    filter_back<std::true_type, scalar_t>(problem, stream, planes, before(k), state(k, 0), state(k, 1), grad_x, grad_x,
                                          edges, false);
  }
  const auto planes = planes_of<scalar_t>(problem, first, count, 0);
  const int64_t items = planes.item(count - 1) - planes.item(0) + 1;
  launch_kernel(launch_over("domain_transform edges", problem.x.device, stream, items * problem.plane()),
                DEEPLAB_KERNEL(kSource, deeplab::domain_transform::add_kernel, scalar_t),
                static_cast<const scalar_t*>(edges), grad_edges, planes);
}

}  // namespace

int64_t backward_scratch(const Problem& problem) {
  const int64_t planes = std::max<int64_t>(problem.items() * problem.channels(), 1);
  if (problem.x.on_cpu() || problem.plane() == 0) return 0;
  const int64_t at_once = std::clamp<int64_t>(kNumbersAtOnce / problem.plane(), 1, planes);
  return product({kept(problem), at_once, problem.plane()});
}

void forward_cuda(const Problem& problem, const TensorView& output, uintptr_t stream) {
  if (output.numel() == 0) return;
  dispatch_floating(problem.x.dtype, "domain_transform", [&](auto zero) {
    using scalar_t = decltype(zero);
    scalar_t* y = output.ptr<scalar_t>();
    const int64_t count = problem.items() * problem.channels();
    for (int64_t k = 0; k < problem.settings.iterations; ++k) {
      const auto planes = planes_of<scalar_t>(problem, 0, count, k);
      filter<std::true_type, scalar_t>(problem, stream, planes, k == 0 ? problem.x.ptr<const scalar_t>() : y, y, y,
                                       k == 0);
      filter<std::false_type, scalar_t>(problem, stream, planes, y, y, y, false);
    }
  });
}

void backward_cuda(const Problem& problem, const TensorView& grad, const TensorView& grad_x,
                   const TensorView& grad_edges, const TensorView& scratch, uintptr_t stream) {
  if (grad_edges.numel() == 0) return;
  if (problem.channels() == 0) {
    set_bytes(problem.x.device, grad_edges.data, 0, grad_edges.numel() * dtype_bytes(grad_edges.dtype), stream);
    return;
  }
  dispatch_floating(problem.x.dtype, "domain_transform backward", [&](auto zero) {
    using scalar_t = decltype(zero);
    const int64_t planes = problem.items() * problem.channels();
    const int64_t at_once = scratch.numel() / (kept(problem) * problem.plane());
    DEEPLAB_CHECK(at_once >= 1, "domain_transform backward: ", scratch.describe(), " is too small for a plane of ",
                  problem.x.describe());
    for (int64_t first = 0; first < planes; first += at_once) {
      const int64_t offset = first * problem.plane();
      backward_of(problem, first, std::min(at_once, planes - first), grad.ptr<const scalar_t>() + offset,
                  grad_x.ptr<scalar_t>() + offset, grad_edges.ptr<scalar_t>(), scratch.ptr<scalar_t>(), stream);
    }
  });
}

}  // namespace deeplab::domain_transform
