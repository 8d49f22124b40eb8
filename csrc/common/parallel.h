// Threads over a range. Work is cut into chunks whose borders do not depend on the number of threads, so a body that
// writes only its own chunk gives the same bits on one core and on sixty.
//
// Not OpenMP's loops: those end when every thread has arrived at a barrier, also a thread that has nothing left to do
// but waits for a processor. Here the caller works chunks off itself, others help if they can, and it waits only for
// threads that hold a chunk.
#pragma once

#include <algorithm>
#include <cstdint>

namespace deeplab {

// Threads used by all CPU loops of the extension; 0 means torch's number (OpenMP's), without torch OMP_NUM_THREADS,
// else the cores. Never more are started than the machine has processors.
void set_num_threads(int threads);
// The same for loops that the calling thread starts; 0 restores the default.
void set_num_threads_here(int threads);
int num_threads();

namespace detail {

using ChunkFunction = void (*)(const void* body, int64_t chunk);

// Calls function(body, chunk) for all chunks, by the calling thread and up to `threads` - 1 others. Throws the first
// exception that a chunk threw.
void run_chunks(int threads, int64_t chunks, ChunkFunction function, const void* body);

// For tests: allows that many threads on any machine; 0: as many as it has processors.
void set_most_threads(int threads);

}  // namespace detail

// Calls body(begin, end) for consecutive chunks of at most `grain` items that together cover [0, count). If the
// body throws, no chunk is begun after that, and the caller gets the first exception when all threads have left the
// body. Loops inside of loops, and those that two threads start at the same time, are not shared out.
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
