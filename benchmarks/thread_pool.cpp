// Milliseconds of a short loop by csrc/common/parallel.cpp's pool and by OpenMP: thread_pool.py compiles and runs this.
// Arguments: threads, loops, passes over a chunk's numbers. Prints the medians of both, then the 90th percentiles.
#include <omp.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "../csrc/common/parallel.h"

namespace {

constexpr int64_t kChunks = 64, kChunk = 4096;

void work(float* numbers, int passes) {
  for (int pass = 0; pass < passes; ++pass) {
    for (int64_t i = 0; i < kChunk; ++i) numbers[i] = 0.5f * numbers[i] + 1.f;
  }
}

template <typename Loop>
std::vector<double> times(int loops, const Loop& loop) {
  std::vector<double> found;
  for (int k = 0; k < loops; ++k) {
    const auto start = std::chrono::steady_clock::now();
    loop();
    found.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
  }
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const int threads = std::atoi(argv[1]), loops = std::atoi(argv[2]), passes = std::atoi(argv[3]);
  deeplab::set_num_threads(threads);
  std::vector<float> numbers(kChunks * kChunk, 1.f);
  const auto by_pool = [&] {
    deeplab::parallel_for(kChunks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t chunk = begin; chunk < end; ++chunk) work(&numbers[chunk * kChunk], passes);
    });
  };
  const auto by_openmp = [&] {
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
    for (int64_t chunk = 0; chunk < kChunks; ++chunk) work(&numbers[chunk * kChunk], passes);
  };
  times(10, by_pool);
  times(10, by_openmp);
  // In turns, so that both meet the same load.
  std::vector<double> pool, openmp;
  for (int turn = 0; turn < 10; ++turn) {
    for (double one : times(loops / 10, by_pool)) pool.push_back(one);
    for (double one : times(loops / 10, by_openmp)) openmp.push_back(one);
  }
  std::sort(pool.begin(), pool.end());
  std::sort(openmp.begin(), openmp.end());
  const size_t middle = pool.size() / 2, late = pool.size() * 9 / 10;
  std::printf("%.4f %.4f %.4f %.4f\n", pool[middle], openmp[middle], pool[late], openmp[late]);
}
