// Stress of csrc/common/parallel.cpp: loops of all sizes from several threads at once, loops inside of loops, loops
// that throw, naps between loops so that helpers go to sleep, and a fork
// (with any argument: none). With the argument "openmp", OpenMP's threads run the loops.
#include "../../csrc/common/parallel.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <new>
#include <thread>
#include <vector>
using namespace deeplab;
static int64_t loop(int64_t n, int64_t grain) {
  std::vector<int64_t> out(n);
  parallel_for(n, grain, [&](int64_t b, int64_t e) {
    for (int64_t i = b; i < e; ++i) {
      parallel_for(1, 1, [&](int64_t, int64_t) { out[i] += i; });
    }
  });
  int64_t s = 0;
  for (int64_t v : out) s += v;
  return s;
}
// A chunk that throws: the caller gets it, and the next loop is whole.
static bool throwing(int64_t n, int64_t bad) {
  try {
    parallel_for(n, 1, [&](int64_t b, int64_t) {
      if (b % bad == 0) throw std::bad_alloc();
    });
  } catch (const std::bad_alloc&) {
    return loop(n, 3) == n * (n - 1) / 2;
  }
  return false;
}
int main(int argc, char** argv) {
  const bool by_openmp = argc > 1 && std::strcmp(argv[1], "openmp") == 0;
  detail::set_most_threads(4);
  set_num_threads(4);
  auto work = [=](int seed) {
    use_openmp_here(by_openmp);
    for (int k = 0; k < 3000; ++k) {
      const int64_t n = 1 + (k * 7919 + seed) % 300;
      if (loop(n, 1 + k % 9) != n * (n - 1) / 2 || !throwing(n, 1 + k % 5)) {
        printf("WRONG\n");
        _exit(1);
      }
      if (k % 100 == 0) usleep(300);
    }
  };
  work(0);
  std::vector<std::thread> several;
  for (int t = 0; t < 3; ++t) several.emplace_back(work, t);
  for (auto& one : several) one.join();
  if (argc < 2) {
    if (const pid_t child = fork(); child == 0) {
      work(1);
      _exit(0);
    } else {
      int status;
      waitpid(child, &status, 0);
      printf("child %d\n", WEXITSTATUS(status));
    }
    work(2);
  }
  printf("ok\n");
}
