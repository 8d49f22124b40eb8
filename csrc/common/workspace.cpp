#include "workspace.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <new>
#include <thread>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace deeplab {
namespace {

constexpr size_t kStep = size_t{1} << 16;  // sizes that differ by less are one

// At least one step: a block of no bytes would be none of what is kept, and would never be freed.
size_t round_up(size_t bytes) { return (std::max<size_t>(bytes, 1) + kStep - 1) / kStep * kStep; }

// Returns null if there is not enough memory.
void* allocate(size_t bytes) {
  void* data = ::operator new(bytes, std::align_val_t(kHugePage), std::nothrow);
  if (data) advise_huge_pages(data, bytes);
  return data;
}

void free_block(Block block) { ::operator delete(block.data, std::align_val_t(kHugePage)); }

// Waits for as long as another thread usually holds the lock: the threads of a loop often come at the same time. If it
// is not free then, the caller does without the workspace: in a forked process that thread may not exist.
std::unique_lock<std::mutex> try_lock(std::mutex& mutex) {
  std::unique_lock lock(mutex, std::try_to_lock);
  for (int turn = 0; !lock && turn < 1000; ++turn) {
    std::this_thread::yield();
    lock = std::unique_lock(mutex, std::try_to_lock);
  }
  return lock;
}

// For what is to be done where it can be: waits longer than a thread that is there stays.
std::unique_lock<std::mutex> lock_patiently(std::mutex& mutex) {
  std::unique_lock<std::mutex> lock = try_lock(mutex);
  for (int turn = 0; !lock && turn < 1000; ++turn) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    lock = try_lock(mutex);
  }
  return lock;
}

}  // namespace

thread_local std::shared_ptr<Workspace> WorkspaceScope::current_;

void advise_huge_pages(void* data, size_t bytes) {
#ifdef __linux__
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(data) + kHugePage - 1) / kHugePage * kHugePage;
  const uintptr_t end = (reinterpret_cast<uintptr_t>(data) + bytes) / kHugePage * kHugePage;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#else
  static_cast<void>(data), static_cast<void>(bytes);
#endif
}

Block Workspace::take(size_t bytes) {
  bytes = round_up(bytes);
  if (const auto locked = try_lock(mutex_)) {
    if (const Block* found = find(bytes)) return remove(found - blocks_.data());
    // Free blocks that are too small, so that new sizes do not take memory in addition to them.
    evict(bytes);
  }
  void* data = allocate(bytes);
  if (!data) {
    clear();
    data = allocate(bytes);
  }
  if (!data) throw std::bad_alloc();
  return {data, bytes};
}

void Workspace::give(Block block) {
  if (const auto locked = try_lock(mutex_)) return add(block);
  free_block(block);
}

void Workspace::clear() {
  if (const auto locked = lock_patiently(mutex_)) evict(bytes_);
}

void Workspace::set_limit(size_t limit) {
  limit_ = limit;
  if (bytes_ <= limit) return;
  if (const auto locked = lock_patiently(mutex_); locked && bytes_ > limit) evict(bytes_ - limit);
}

Block Workspace::remove(size_t index) {
  const Block block = blocks_[index];
  std::copy(blocks_.begin() + index + 1, blocks_.begin() + count_, blocks_.begin() + index);
  --count_;
  bytes_ -= block.bytes;
  return block;
}

// Frees the oldest blocks until this many bytes can be kept in addition, or no block is left.
void Workspace::evict(size_t wanted) {
  for (size_t found = 0; count_ > 0 && found < wanted;) {
    const Block block = remove(0);
    found += block.bytes;
    free_block(block);
  }
}

void Workspace::add(Block block) {
  if (block.bytes > limit_) return free_block(block);
  if (count_ == blocks_.size()) free_block(remove(0));
  blocks_[count_++] = block;
  bytes_ += block.bytes;
  if (bytes_ > limit_) evict(bytes_ - limit_);
}

// The smallest block that is large enough, or null.
const Block* Workspace::find(size_t wanted) const {
  const Block* best = nullptr;
  for (const Block* block = blocks_.data(); block != blocks_.data() + count_; ++block) {
    const bool fits = block->bytes >= wanted && (any_larger_ || block->bytes - wanted <= wanted / 4);
    if (fits && (!best || block->bytes < best->bytes)) best = block;
  }
  return best;
}

Block take_block(Workspace* workspace, size_t bytes) {
  if (workspace) return workspace->take(bytes);
  void* data = allocate(bytes);
  if (!data) throw std::bad_alloc();
  return {data, bytes};
}

void give_block(Workspace* workspace, Block block) {
  if (workspace) return workspace->give(block);
  free_block(block);
}

}  // namespace deeplab
