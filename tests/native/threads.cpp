// Threads that compute at the same time, for runs under ThreadSanitizer, which needs no Python then: Winograd's and the
// stem's convolution, with the memory that all share; buffers of one workspace, which others clear and limit; lattices
// and what is made of them at the first call; loops inside of loops that throw; threads that live for one call. Results
// must have the bits of a single thread. How to build it: docs/crf.md.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <random>
#include <thread>
#include <vector>

#include "../../csrc/common/parallel.h"
#include "../../csrc/common/workspace.h"
#include "../../csrc/lattice/filter.h"
#include "../../csrc/mean_field/mean_field.h"
#include "../../csrc/stem/stem.h"
#include "../../csrc/winograd/winograd.h"
using namespace deeplab;
using Numbers = std::vector<float>;

static void expect(bool condition, const char* what) {
  if (condition) return;
  printf("WRONG: %s\n", what);
  std::_Exit(1);
}
static Numbers numbers(int64_t count, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  Numbers result(count);
  for (float& x : result) x = normal(generator);
  return result;
}
static TensorView view(const Numbers& data, std::vector<int64_t> sizes, std::vector<int64_t> strides) {
  return {const_cast<float*>(data.data()), std::move(sizes), std::move(strides), DType::kFloat32, kCpu};
}
static TensorView packed(const Numbers& data, const std::vector<int64_t>& sizes) {
  std::vector<int64_t> strides(sizes.size(), 1);
  for (size_t i = sizes.size() - 1; i > 0; --i) strides[i - 1] = strides[i] * sizes[i];
  return view(data, sizes, strides);
}
static TensorView channels_last(const Numbers& data, int64_t n, int64_t c, int64_t h, int64_t w) {
  return view(data, {n, c, h, w}, {c * h * w, 1, w * c, c});
}

// A layer of 64 channels on n x n pixels, whose buffers are blocks of the workspace that all calls share.
static Numbers winograd_of(int64_t n) {
  const Numbers x = numbers(64 * n * n, 1), weight = numbers(64 * 64 * 9, 2);
  Numbers transformed(36 * 64 * 64), y(64 * n * n);
  const TensorView panels = packed(transformed, {36, 4, 64, 16});
  winograd::transform_weight_cpu(packed(weight, {64, 64, 3, 3}), panels, 4);
  const Axis axis{n, n, 3, 2, 1, 2};
  winograd::forward_cpu(channels_last(x, 1, 64, n, n), panels, channels_last(y, 1, 64, n, n), axis, axis, 4,
                        {nullptr, nullptr, true, INFINITY});
  return y;
}
static Numbers stem_of() {
  const Numbers x = numbers(3 * 31 * 37, 3), panels = numbers(27 * 16, 4);
  Numbers y(16 * 16 * 19);
  const stem::Geometry geometry{{31, 16, 3, 1, 2, 1}, {37, 19, 3, 1, 2, 1}};
  stem::forward_cpu(packed(x, {1, 3, 31, 37}), packed(panels, {1, 3, 3, 3, 16}), nullptr,
                    channels_last(y, 1, 16, 16, 19), geometry, true, 6);
  return y;
}
static Numbers marginals(const std::shared_ptr<const lattice::Lattice>& lattice) {
  const int64_t points = lattice->points;
  const Numbers scores = numbers(2 * points, 5);
  Numbers q(2 * points);
  mean_field::MeanField field(2, points, {{lattice, 3, mean_field::Normalization::kSymmetric, {}}});
  field.start(packed(scores, {2, points}), false);
  field.run(2);
  field.marginals(packed(q, {2, points}), false);
  return q;
}

int main() {
  constexpr int64_t kPoints = 60000;
  detail::set_most_threads(4);
  const Numbers features = numbers(5 * kPoints, 6);
  const auto build = [&](int64_t points) {
    return lattice::build_cpu(view(features, {points, 5}, {1, kPoints}), true);
  };
  set_num_threads(1);
  const Numbers small = winograd_of(23), large = winograd_of(60), stem = stem_of(),
                expected = marginals(build(kPoints));
  set_num_threads(3);
  const auto shared = std::make_shared<Workspace>(size_t{64} << 20, true);
  const WorkspaceScope scope(shared);
  const auto lattice = build(kPoints);
  const auto work = [&](int id, int count, bool with_lattices) {
    for (int k = id; k < id + count; ++k) {
      if (k % 3 == 0) set_num_threads_here(1 + k % 4);
      expect(winograd_of(23) == small && winograd_of(60) == large && stem_of() == stem, "a convolution");
      auto* buffer = ::new WorkspaceBuffer(shared, (1 + k % 9) * 700000);
      std::memset(buffer->data(), k, buffer->bytes());
      ::delete buffer;
      if (k % 5 == 1) shared->clear();
      if (k % 7 == 2) shared->set_limit(size_t{4} << 20);
      if (k % 7 == 4) shared->set_limit(size_t{64} << 20);
      if (k % 4 == 0) winograd::clear_kept();
      try {
        parallel_for(50, 1, [&](int64_t outer, int64_t) {
          parallel_for(3, 1, [&](int64_t, int64_t) {
            if (outer == 31) throw std::bad_alloc();
          });
        });
        expect(false, "an exception was lost");
      } catch (const std::bad_alloc&) {
      }
      if (!with_lattices) continue;
      const WorkspaceScope here(shared);
      expect(marginals(lattice) == expected && marginals(build(kPoints)) == expected, "marginals");
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) threads.emplace_back(work, i, 8, i < 2);
  for (auto& thread : threads) thread.join();
  threads.clear();
  const auto fresh = build(3000);
  for (int i = 0; i < 4; ++i) threads.emplace_back([&] { fresh->filtered_ones(), fresh->interleaved_entries(); });
  for (auto& thread : threads) thread.join();
  for (int i = 0; i < 100; ++i) std::thread(work, i, 1, false).join();
  printf("ok\n");
}
