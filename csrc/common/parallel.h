// Threads over a range. Work is cut into chunks whose borders do not depend on the number of threads, so a body that
// writes only its own chunk gives the same bits on one core and on sixty.
#pragma once

#include <algorithm>
#include <cstdint>

#ifdef _OPENMP
#include <omp.h>
#endif

namespace deeplab {

// Threads used by all CPU loops of the extension; 0 means OpenMP's own choice (OMP_NUM_THREADS, else the cores).
void set_num_threads(int threads);
// The same for loops that the calling thread starts; 0 gives the choice back.
void set_num_threads_here(int threads);
int num_threads();

// Calls body(begin, end) for consecutive chunks of at most `grain` items that together cover [0, count). The body must
// not throw.
template <typename Body>
void parallel_for(int64_t count, int64_t grain, const Body& body) {
  if (count <= 0) return;
  grain = std::max<int64_t>(grain, 1);
  const int64_t chunks = (count + grain - 1) / grain;
#ifdef _OPENMP
  const int threads = static_cast<int>(std::min<int64_t>(num_threads(), chunks));
  if (threads > 1 && !omp_in_parallel()) {
#pragma omp parallel for num_threads(threads) schedule(dynamic)
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
      body(chunk * grain, std::min(count, (chunk + 1) * grain));
    }
    return;
  }
#endif
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    body(chunk * grain, std::min(count, (chunk + 1) * grain));
  }
}

}  // namespace deeplab
