// Measured by benchmarks/thread_pool.py on two cores of an Intel Xeon at load average 13
// (results/thread_pool_cpu.json): with two threads, a loop of 0.04 ms took 0.055 ms in the median by this pool and 35
// ms by OpenMP with dynamic chunks (62 ms with two more busy processes); a loop of 0.23 ms took 0.28 and 36 ms. At the
// end of a loop OpenMP's threads wait for those that have no processor. With one thread both take the same time.
#include "parallel.h"

#include <atomic>
#include <climits>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <limits>
#include <mutex>
#include <new>
#include <thread>
#include <utility>
#include <vector>

#ifndef _WIN32
#include <dlfcn.h>
#include <pthread.h>
#include <unistd.h>
#endif
#ifdef __linux__
#include <sched.h>
#endif

namespace deeplab {
namespace {

std::atomic<int> requested_threads{0};
thread_local int requested_threads_here = 0;
thread_local bool inside_loop = false;
thread_local bool openmp_here = false;

#ifdef _WIN32
bool is_forked() { return false; }
#else
const pid_t loading_process = getpid();
bool is_forked() { return getpid() != loading_process; }
#endif
std::atomic<int> most_threads{0};

struct InsideLoop {
  InsideLoop() { inside_loop = true; }
  ~InsideLoop() { inside_loop = false; }
};

// OpenMP's functions, null if nothing has loaded them; GCC's interface, which Intel's and LLVM's libraries have too.
struct OpenMP {
  using Body = void (*)(void*);
  using Parallel = void (*)(Body body, void* data, unsigned threads, unsigned flags);
  using ThreadNumber = int (*)();
  Parallel parallel = nullptr;
  ThreadNumber thread_number = nullptr;
};

OpenMP find_openmp() {
#ifndef _WIN32
  static std::atomic<void*> parallel{nullptr}, thread_number{nullptr};  // torch may be imported later
  if (!parallel) {
    thread_number = dlsym(RTLD_DEFAULT, "omp_get_thread_num");
    parallel = dlsym(RTLD_DEFAULT, "GOMP_parallel");
  }
  if (parallel && thread_number) {
    return {reinterpret_cast<OpenMP::Parallel>(parallel.load()),
            reinterpret_cast<OpenMP::ThreadNumber>(thread_number.load())};
  }
#endif
  return {};
}

// Number of polls for work before a thread goes to sleep: about ten microseconds, which is about the time between two
// loops of one operation.
constexpr int kTurns = 2000;

void pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// The chunks of a loop that are first assigned to one thread, in one word: this thread takes chunks from the front, and
// other threads take them from the back when their own are done.
class Span {
 public:
  static constexpr int64_t kMost = std::numeric_limits<uint32_t>::max();

  void set(int64_t begin, int64_t end) { ends_ = static_cast<uint64_t>(end) << 32 | static_cast<uint64_t>(begin); }

  // The number of a chunk, or -1 if none is left.
  int64_t take(bool front) {
    uint64_t ends = ends_;
    while (true) {
      const uint64_t begin = ends & kMost, end = ends >> 32;
      if (begin >= end) return -1;
      const uint64_t left = front ? ends + 1 : ends - (uint64_t{1} << 32);
      if (ends_.compare_exchange_weak(ends, left)) return static_cast<int64_t>(front ? begin : end - 1);
    }
  }

 private:
  alignas(64) std::atomic<uint64_t> ends_{0};
};

// Threads that wait for the next loop. Never destroyed, because they may outlive main.
class Pool {
 public:
  // Returns false if another thread's loop is running. Throws what a chunk threw, but only after all threads have left
  // their chunks, because the body is in the caller's stack frame.
  bool run(int threads, int64_t chunks, detail::ChunkFunction function, const void* body) {
    const std::unique_lock<std::mutex> owner(owner_, std::try_to_lock);
    if (!owner) return false;
    // A forked process has none of the threads that its parent's OpenMP waits for.
    const OpenMP openmp = openmp_here && !is_forked() ? find_openmp() : OpenMP{};
    if (!openmp.parallel) hire(threads - 1);
    function_ = function;
    body_ = body;
    threads_ = openmp.parallel ? threads : std::min(threads, helpers_ + 1);
    if (static_cast<int>(spans_.size()) < threads_) spans_ = std::vector<Span>(threads_);
    // Each thread gets the same part of every loop with as many chunks, so that its caches still have what it wrote in
    // the loop before.
    for (int i = 0; i < threads_; ++i) spans_[i].set(chunks * i / threads_, chunks * (i + 1) / threads_);
    if (openmp.parallel) {
      thread_number_ = openmp.thread_number;
      openmp.parallel([](void* pool) { static_cast<Pool*>(pool)->work_as_team(); }, this, threads_, 0);
    } else {
      work_with_helpers();
    }
    if (failed_) {
      failed_ = false;
      std::rethrow_exception(std::exchange(error_, nullptr));
    }
    return true;
  }

 private:
  void work_with_helpers() {
    open_ = true;
    ++loop_;
    if (sleeping_ > 0) {
      const std::lock_guard<std::mutex> lock(sleep_);
      wake_.notify_all();
    }
    work(0);
    // Threads that wake up too late skip this loop.
    open_ = false;
    for (int turn = 0; inside_ > 0; ++turn) {
      if (turn < kTurns) {
        pause();
      } else {
        std::this_thread::yield();
      }
    }
  }

  // A thread of OpenMP's in its region. There may be fewer than asked for: each takes all chunks that are left.
  void work_as_team() {
    const bool before = std::exchange(inside_loop, true);
    work(thread_number_());
    inside_loop = before;
  }

  void hire(int helpers) {
    for (; helpers_ < helpers; ++helpers_) {
      try {
        std::thread([this, number = helpers_ + 1] { help(number); }).detach();
      } catch (const std::exception&) {
        return;  // the system has no more threads or no memory for one; the pool stays as it is
      }
    }
  }

  void help(int number) {
    inside_loop = true;
    uint64_t seen = 0;
    while (true) {
      wait_for_loop(seen);
      seen = loop_;
      // Enter first, then check that the loop is still open: the caller closes it first, then checks who is inside.
      ++inside_;
      if (open_ && number < threads_) work(number);
      --inside_;
    }
  }

  void wait_for_loop(uint64_t seen) {
    for (int turn = 0; turn < kTurns; ++turn) {
      if (loop_ != seen) return;
      pause();
    }
    std::unique_lock<std::mutex> lock(sleep_);
    ++sleeping_;
    wake_.wait(lock, [&] { return loop_ != seen; });
    --sleeping_;
  }

  // Runs the chunks of thread `number`, and then chunks that other threads have not begun.
  void work(int number) {
    for (int i = 0; i < threads_; ++i) {
      Span& span = spans_[(number + i) % threads_];
      for (int64_t chunk = span.take(i == 0); chunk >= 0; chunk = span.take(i == 0)) {
        if (failed_) return;
        try {
          function_(body_, chunk);
        } catch (...) {
          // Keep the first error. No thread begins a further chunk.
          if (!failed_.exchange(true)) error_ = std::current_exception();
          return;
        }
      }
    }
  }

  std::mutex owner_;
  int helpers_ = 0;

  // The running loop; only threads inside it read these.
  detail::ChunkFunction function_ = nullptr;
  const void* body_ = nullptr;
  int threads_ = 0;
  std::vector<Span> spans_;  // by thread
  OpenMP::ThreadNumber thread_number_ = nullptr;
  std::exception_ptr error_;

  alignas(64) std::atomic<uint64_t> loop_{0};
  alignas(64) std::atomic<bool> open_{false};
  std::atomic<int> inside_{0};
  std::atomic<bool> failed_{false};

  std::mutex sleep_;
  std::condition_variable wake_;
  std::atomic<int> sleeping_{0};
};

std::atomic<Pool*> pool{nullptr};

Pool& the_pool() {
  Pool* found = pool;
  if (found) return *found;
#ifndef _WIN32
  // A forked process has none of its parent's threads. Registered before the first pool exists, so that no fork misses
  // it.
  static std::once_flag registered;
  std::call_once(registered, [] {
    if (pthread_atfork(nullptr, nullptr, [] { pool = nullptr; }) != 0) throw std::bad_alloc();
  });
#endif
  Pool* made = new Pool;
  if (pool.compare_exchange_strong(found, made)) return *made;
  delete made;
  return *found;
}

// OMP_NUM_THREADS, or else the number of processors that this process may use.
int threads_by_environment() {
  const char* text = std::getenv("OMP_NUM_THREADS");
  const long asked = text ? std::strtol(text, nullptr, 10) : 0;
  if (asked > 0 && asked <= INT_MAX) return static_cast<int>(asked);
#ifdef __linux__
  cpu_set_t usable;
  if (sched_getaffinity(0, sizeof usable, &usable) == 0) return std::max(CPU_COUNT(&usable), 1);
#endif
  return static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

// OpenMP's number for this thread if torch has loaded OpenMP, so that torch.set_num_threads has an effect here too.
int default_threads() {
#ifndef _WIN32
  static std::atomic<void*> found{nullptr};  // torch may be imported later, but does not go away
  void* function = found;
  if (!function) found = function = dlsym(RTLD_DEFAULT, "omp_get_max_threads");
  if (function) return reinterpret_cast<int (*)()>(function)();
#endif
  static const int threads = threads_by_environment();
  return threads;
}

}  // namespace

void set_num_threads(int threads) { requested_threads = std::max(threads, 0); }

void set_num_threads_here(int threads) { requested_threads_here = std::max(threads, 0); }

bool use_openmp_here(bool wanted) { return std::exchange(openmp_here, wanted); }

int num_threads() {
  if (requested_threads_here > 0) return requested_threads_here;
  const int requested = requested_threads;
  if (requested > 0) return requested;
  return default_threads();
}

void detail::set_most_threads(int threads) { most_threads = std::max(threads, 0); }

void detail::run_chunks(int threads, int64_t chunks, ChunkFunction function, const void* body) {
  static const int processors = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  const int most = most_threads;
  threads = std::min(threads, most > 0 ? most : processors);
  if (threads > 1 && chunks <= Span::kMost && !inside_loop) {
    const InsideLoop inside;
    if (the_pool().run(threads, chunks, function, body)) return;
  }
  for (int64_t chunk = 0; chunk < chunks; ++chunk) function(body, chunk);
}

}  // namespace deeplab
