// Threads over a range. Work is divided into chunks whose borders do not depend on the number of threads, so a body
// that writes only its own chunk gives the same bits on one core and on sixty.
//
// OpenMP's loops are not used: they end at a barrier that every thread must reach, even a thread that has nothing to do
// but waits for a processor. Here the caller works on chunks too, other threads help if they can, and the caller waits
// only for threads that are inside a chunk. The exception are loops between torch's operators; see use_openmp_here.
#pragma once

#include <algorithm>
#include <cstdint>

namespace deeplab {

// Number of threads of all CPU loops of the extension. 0: torch's (OpenMP's) number, or without torch OMP_NUM_THREADS,
// or else the number of cores. There are never more threads than processors.
void set_num_threads(int threads);
// The number of threads of loops that the calling thread starts; 0 restores the default.
void set_num_threads_here(int threads);
int num_threads();

// Lets OpenMP's threads run the loops that the calling thread starts, if torch has loaded OpenMP. Returns what held
// before. For loops between operators of torch: behind each of them OpenMP's threads spin for some milliseconds, and
// would take the cores from other threads.
bool use_openmp_here(bool wanted);

namespace detail {

using ChunkFunction = void (*)(const void* body, int64_t chunk);

// Calls function(body, chunk) for all chunks, in the calling thread and up to `threads` - 1 others. Throws the first
// exception of a chunk.
void run_chunks(int threads, int64_t chunks, ChunkFunction function, const void* body);

// For tests: allows this many threads on any machine; 0: at most as many as there are processors.
void set_most_threads(int threads);

}  // namespace detail

// Calls body(begin, end) for consecutive chunks of at most `grain` items that together cover [0, count). If the body
// throws, no further chunk is begun, and the caller gets the first exception after all threads have left the body.
// Loops inside of loops, and loops that another thread starts at the same time, run in their own thread only.
template <typename Body>
void parallel_for(int64_t count, int64_t grain, const Body& body) {
  if (count <= 0) return;
  grain = std::max<int64_t>(grain, 1);
  const int64_t chunks = (count + grain - 1) / grain;
  const auto run = [&](int64_t chunk) { body(chunk * grain, std::min(count, (chunk + 1) * grain)); };
  const int threads = static_cast<int>(std::min<int64_t>(num_threads(), chunks));
  if (threads > 1) {
    const auto call = [](const void* function, int64_t chunk) {
      (*static_cast<const decltype(run)*>(function))(chunk);
    };
    detail::run_chunks(threads, chunks, call, &run);
    return;
  }
  for (int64_t chunk = 0; chunk < chunks; ++chunk) run(chunk);
}

}  // namespace deeplab
