#include "block_cache.h"

#include <algorithm>
#include <array>
#include <mutex>
#include <new>
#include <utility>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace deeplab {
namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr size_t kLimit = 0;  // so that what is used after its end is seen
#else
constexpr size_t kLimit = size_t{256} << 20;
#endif
constexpr size_t kStep = size_t{1} << 16;  // sizes that differ by less are one

void free_block(Block block) { ::operator delete(block.data, std::align_val_t(kHugePage)); }

// Nothing here allocates: blocks are given back by destructors.
struct Cache {
  std::mutex mutex;
  std::array<Block, 64> blocks;  // oldest first
  size_t count = 0;
  size_t bytes = 0;
  size_t limit = kLimit;

  Block remove(size_t index) {
    const Block block = blocks[index];
    std::copy(blocks.begin() + index + 1, blocks.begin() + count, blocks.begin() + index);
    --count;
    bytes -= block.bytes;
    return block;
  }

  // Frees the oldest blocks until this many bytes are free, or no block is left.
  void evict(size_t wanted) {
    for (size_t found = 0; count > 0 && found < wanted;) {
      const Block block = remove(0);
      found += block.bytes;
      free_block(block);
    }
  }

  void add(Block block) {
    if (block.bytes > limit) return free_block(block);
    if (count == blocks.size()) free_block(remove(0));
    blocks[count++] = block;
    bytes += block.bytes;
    if (bytes > limit) evict(bytes - limit);
  }

  // The smallest block that fits, or null.
  const Block* find(size_t wanted) const {
    const Block* best = nullptr;
    for (const Block* block = blocks.data(); block != blocks.data() + count; ++block) {
      const bool fits = block->bytes >= wanted && block->bytes - wanted <= wanted / 4;
      if (fits && (!best || block->bytes < best->bytes)) best = block;
    }
    return best;
  }
};

Cache& cache() {
  static Cache* const kept = new Cache;  // outlives whatever gives blocks at the process's end
  return *kept;
}

// A thread that finds another one here goes without: in a forked process that one may be gone for good.
std::unique_lock<std::mutex> lock() { return std::unique_lock<std::mutex>(cache().mutex, std::try_to_lock); }

}  // namespace

Block take_block(size_t bytes) {
  bytes = (bytes + kStep - 1) / kStep * kStep;
  if (const auto locked = lock()) {
    Cache& kept = cache();
    if (const Block* found = kept.find(bytes)) return kept.remove(found - kept.blocks.data());
    // What does not fit makes room, so that other sizes than before do not take memory on top of it.
    kept.evict(bytes);
  }
  void* data = ::operator new(bytes, std::align_val_t(kHugePage), std::nothrow);
  if (!data) {
    keep_blocks(keep_blocks(0));
    data = ::operator new(bytes, std::align_val_t(kHugePage));
  }
  const Block block{data, bytes};
#ifdef __linux__
  // Gathers over tens of megabytes spend their time on address translation otherwise. Whole pages only: what is touched
  // of one is all taken.
  madvise(block.data, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
#endif
  return block;
}

void give_block(Block block) {
  if (const auto locked = lock()) return cache().add(block);
  free_block(block);
}

size_t keep_blocks(size_t bytes) {
  const std::lock_guard<std::mutex> locked(cache().mutex);
  Cache& kept = cache();
  const size_t before = std::exchange(kept.limit, bytes);
  if (kept.bytes > bytes) kept.evict(kept.bytes - bytes);
  return before;
}

size_t kept_block_bytes() {
  const std::lock_guard<std::mutex> locked(cache().mutex);
  return cache().bytes;
}

}  // namespace deeplab
