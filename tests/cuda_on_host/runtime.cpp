#include "cuda_runtime.h"
#define EXPORTED extern "C" __attribute__((visibility("default")))

namespace on_host {
static bool capturing = false;
static std::vector<std::vector<std::function<void()>>> graphs;
bool is_capturing() { return capturing; }
void enqueue(std::function<void()> work) {
  if (capturing) {
    graphs.back().push_back(std::move(work));
  } else {
    work();
  }
}
}  // namespace on_host

EXPORTED void host_seed(int seed) { on_host::state.order.seed(seed); }
EXPORTED void host_begin_capture() {
  on_host::capturing = true;
  on_host::graphs.emplace_back();
}
EXPORTED int host_end_capture() {
  on_host::capturing = false;
  return static_cast<int>(on_host::graphs.size()) - 1;
}
EXPORTED void host_replay(int graph) {
  for (const auto& work : on_host::graphs[graph]) work();
}

namespace on_host {
State state;
static void entry() {
  state.body();
  state.current->wait = Wait::kDone;
  swapcontext(&state.current->context, &state.scheduler);
}
void run(dim3 grid, dim3 block, std::function<void()> body) {
  constexpr size_t kStack = 96 << 10;
  const int count = block.x * block.y;
  if (count > 1024 || count < 1 || grid.x < 1 || grid.y < 1 || grid.y > 65535) die("bad launch size");
  state.body = std::move(body);
  state.grid_dim = grid;
  state.block_dim = block;
  if ((int)state.threads.size() < count) state.threads.resize(count);
  while ((int)state.stacks.size() < count) state.stacks.push_back(std::make_unique<char[]>(kStack));
  const long blocks = (long)grid.x * grid.y;
  std::vector<long> sequence(blocks);
  std::iota(sequence.begin(), sequence.end(), 0);
  std::shuffle(sequence.begin(), sequence.end(), state.order);
  std::vector<int> threads(count);
  std::iota(threads.begin(), threads.end(), 0);
  for (long b : sequence) {
    state.block = dim3(b % grid.x, b / grid.x);
    std::shuffle(threads.begin(), threads.end(), state.order);
    for (int t = 0; t < count; ++t) {
      Thread& thread = state.threads[t];
      getcontext(&thread.context);
      thread.context.uc_stack.ss_sp = state.stacks[t].get();
      thread.context.uc_stack.ss_size = kStack;
      thread.context.uc_link = nullptr;
      makecontext(&thread.context, entry, 0);
      thread.index = dim3(t % block.x, t / block.x);
      thread.linear = t;
      thread.wait = Wait::kNone;
    }
    for (;;) {
      bool ran = false;
      for (int t : threads) {
        Thread& thread = state.threads[t];
        if (thread.wait != Wait::kNone) continue;
        state.current = &thread;
        ran = true;
        swapcontext(&state.scheduler, &thread.context);
      }
      int waiting_block = 0, done = 0;
      bool released = false;
      for (int w = 0; w < count; w += 32) {
        int n = 0, at_warp = 0;
        const int end = std::min(w + 32, count);
        for (int t = w; t < end; ++t) {
          n += 1;
          at_warp += state.threads[t].wait == Wait::kWarp;
          waiting_block += state.threads[t].wait == Wait::kBlock;
          done += state.threads[t].wait == Wait::kDone;
        }
        if (at_warp == n) {
          if (n < 32) die("shuffle in a partial warp");
          for (int t = w; t < end; ++t) state.threads[t].wait = Wait::kNone;
          released = true;
        }
      }
      if (done == count) break;
      if (waiting_block == count) {
        for (int t = 0; t < count; ++t) state.threads[t].wait = Wait::kNone;
        released = true;
      }
      if (!ran && !released) die("deadlock: threads diverge at a barrier");
    }
  }
}
}  // namespace on_host
