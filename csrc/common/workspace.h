// Large memory blocks that are kept for their next use. The system clears new memory page by page, which for the
// buffers of a dense CRF takes as long as two or three iterations.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <memory>
#include <mutex>
#include <utility>

#include "check.h"

namespace deeplab {

constexpr size_t kHugePage = size_t{1} << 21;

// Asks for huge pages if the memory contains whole ones, because gathers over tens of megabytes otherwise spend their
// time on address translation. Touching any part of a huge page allocates all of it.
void advise_huge_pages(void* data, size_t bytes);

// Memory aligned to huge pages.
struct Block {
  void* data;
  size_t bytes;
};

// The blocks that a caller's computations take and return. Several threads may use one at the same time. Only take()
// allocates, because blocks are returned by destructors.
class Workspace {
 public:
  DEEPLAB_NEEDS_INIT(Workspace)

#if defined(__SANITIZE_ADDRESS__)
  static constexpr size_t kDefaultLimit = 0;  // so that what is used after its end is seen
#else
  static constexpr size_t kDefaultLimit = size_t{256} << 20;
#endif

  // With `any_larger`, blocks may be larger than asked for by any amount: for buffers that are soon given back.
  explicit Workspace(size_t limit, bool any_larger = false) : any_larger_(any_larger), limit_(limit) {}
  ~Workspace() { evict(bytes_); }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  // Returns a block of at least this many bytes, and without `any_larger` at most a quarter more. Throws
  // std::bad_alloc.
  Block take(size_t bytes);
  void give(Block block);

  // Frees all blocks that are kept.
  void clear();
  // Sets the maximum of bytes to keep; blocks beyond it are freed, oldest first.
  void set_limit(size_t limit);
  size_t limit() const { return limit_; }
  size_t bytes() const { return bytes_; }

 private:
  Block remove(size_t index);
  void evict(size_t wanted);
  void add(Block block);
  const Block* find(size_t wanted) const;

  const bool any_larger_;
  std::mutex mutex_;
  std::array<Block, 64> blocks_;  // oldest first
  size_t count_ = 0;
  std::atomic<size_t> bytes_{0};
  std::atomic<size_t> limit_;
};

// A block of a workspace, returned to it at the end.
class WorkspaceBuffer {
 public:
  DEEPLAB_NEEDS_INIT(WorkspaceBuffer)

  WorkspaceBuffer(std::shared_ptr<Workspace> workspace, size_t bytes)
      : workspace_(std::move(workspace)), block_(workspace_->take(bytes)), bytes_(bytes) {}
  ~WorkspaceBuffer() { workspace_->give(block_); }
  WorkspaceBuffer(const WorkspaceBuffer&) = delete;
  WorkspaceBuffer& operator=(const WorkspaceBuffer&) = delete;

  void* data() const { return block_.data; }
  size_t bytes() const { return bytes_; }

 private:
  std::shared_ptr<Workspace> workspace_;
  Block block_;
  size_t bytes_;
};

// During its lifetime, the calling thread's buffers come from this workspace, or from the system if it is null.
class WorkspaceScope {
 public:
  explicit WorkspaceScope(std::shared_ptr<Workspace> workspace) : before_(std::exchange(current_, workspace)) {}
  ~WorkspaceScope() { current_ = std::move(before_); }
  WorkspaceScope(const WorkspaceScope&) = delete;
  WorkspaceScope& operator=(const WorkspaceScope&) = delete;

  static const std::shared_ptr<Workspace>& current() { return current_; }

 private:
  std::shared_ptr<Workspace> before_;
  static thread_local std::shared_ptr<Workspace> current_;
};

// Returns a block of the workspace, or of the system if it is null. Throws std::bad_alloc.
Block take_block(Workspace* workspace, size_t bytes);
void give_block(Workspace* workspace, Block block);

}  // namespace deeplab
