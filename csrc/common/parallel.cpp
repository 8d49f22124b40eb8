#include "parallel.h"

#include <atomic>

namespace deeplab {
namespace {

std::atomic<int> requested_threads{0};
thread_local int requested_threads_here = 0;

}  // namespace

void set_num_threads(int threads) { requested_threads = std::max(threads, 0); }

void set_num_threads_here(int threads) { requested_threads_here = std::max(threads, 0); }

int num_threads() {
  if (requested_threads_here > 0) return requested_threads_here;
  const int requested = requested_threads;
  if (requested > 0) return requested;
#ifdef _OPENMP
  return omp_get_max_threads();
#else
  return 1;
#endif
}

}  // namespace deeplab
