// Large pieces of memory that are kept for their next use. What the system gives out it clears first, page by page:
// for the buffers of a dense CRF that takes as long as two or three of its iterations.
#pragma once

#include <cstddef>

namespace deeplab {

constexpr size_t kHugePage = size_t{1} << 21;

// Memory aligned to a huge page.
struct Block {
  void* data;
  size_t bytes;
};

// A block of at least this many bytes, at most a quarter more. Throws std::bad_alloc.
Block take_block(size_t bytes);
void give_block(Block block);

// Sets the most bytes to keep; blocks beyond it are freed, oldest first. Returns how many were
// allowed before.
size_t keep_blocks(size_t bytes);
size_t kept_block_bytes();

}  // namespace deeplab
