// Building the lattice, in four steps:
//   1. chunks of points find their simplices and number the vertices they touch, each chunk in its own small table;
//   2. the chunks' vertices are merged into one numbering, chunk by chunk (several times fewer keys than simplex
//      corners): one thread does so while others go on with step 1;
//   3. chunks write their corners under the common numbers, by point and by vertex;
//   4. every vertex looks its neighbours up, once for all blurs to come.
// Chunks and numbering do not depend on the number of threads.
#include <atomic>
#include <exception>
#include <mutex>
#include <utility>

#include "../common/parallel.h"
#include "key_table.h"
#include "lattice.h"
#include "locate_lanes.h"

namespace deeplab::lattice {
namespace {

constexpr int64_t kChunk = 4096;
constexpr int64_t kVertexGrain = 4096;
constexpr int64_t kAhead = 16;  // keys whose slots are fetched before they are looked for

// Collects exceptions: parallel_for's bodies must not throw, but these bodies allocate memory.
class FirstError {
 public:
  template <typename Body>
  void guard(const Body& body) noexcept {
    try {
      body();
    } catch (...) {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (!error_) error_ = std::current_exception();
    }
  }
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  std::mutex mutex_;
  std::exception_ptr error_;
};

const float* row(const TensorView& features, int64_t point) {
  return features.ptr<const float>() + point * features.stride(0);
}

// A chunk of points and its vertices.
template <typename Key>
struct Chunk {
  std::vector<Key> keys;        // by local number
  std::vector<int64_t> cursor;  // by local number: its entries here, counted; then where the next one goes
  std::vector<int32_t> vertex;  // by local number: number in the lattice, from 1
  std::atomic<bool> located{false};
};

// Neighbours of a vertex along one axis, as numbers from 1; 0 for a missing one.
struct Neighbours {
  int32_t before;  // key[k] - 1 for all k, but key[axis] + dims
  int32_t after;   // the opposite
};

// Calls locate_lanes compiled for this processor.
template <typename Key, int Dims, int kSize>
DEEPLAB_TARGET_CLONES void locate_block(const Packing<Key>& packing, const float* scale, int dims,
                                        SimplexLanes<Key, kSize>& lanes) {
  locate_lanes<Key, Dims>(packing, scale, dims, lanes);
}

template <typename Key, int Dims>
class Builder {
  static constexpr int kSize = (Dims ? Dims : kMaxDims) + 1;
  static constexpr int kRecentBits = 9;
  static constexpr int kRecent = 1 << kRecentBits;
  static constexpr uint64_t kNoOrder = ~uint64_t{0};

  // A recently found simplex: nearly half of an image's pixels lie in one.
  struct Recent {
    Key key = 0;
    uint64_t order = kNoOrder;  // the ranks of its coordinates, four bits each
    int32_t number[kSize];
  };

 public:
  Builder(const TensorView& features, const Packing<Key>& packing, const float* scale)
      : features_(features), packing_(packing), scale_(scale) {}

  std::shared_ptr<const Lattice> build(bool with_zero) {
    lattice_->dims = dims();
    lattice_->points = features_.size(0);
    lattice_->alpha = slice_factor(dims());
    const int64_t blocks = (lattice_->points + kBlock - 1) / kBlock;
    lattice_->point_vertex = AlignedBuffer<int32_t>(blocks * kBlock * corners());
    lattice_->point_weight = AlignedBuffer<float>(blocks * kBlock * corners() + kWeightsBeyond);
    chunks_ = std::vector<Chunk<Key>>((lattice_->points + kChunk - 1) / kChunk);

    FirstError error;
    parallel_for(lattice_->points, kChunk, [&](int64_t begin, int64_t end) {
      error.guard([&] {
        locate_chunk(begin, end);
        merge_located();
      });
    });
    error.rethrow();
    merge_located();  // of those that were located while another thread was just leaving
    if (with_zero) insert_zero();
    start_rows();
    lattice_->entries = AlignedBuffer<Entry>(lattice_->points * corners());
    parallel_for(lattice_->points, kChunk, [&](int64_t begin, int64_t end) { place_entries(begin, end); });
    std::vector<Chunk<Key>>().swap(chunks_);
    find_neighbours();
    chain_neighbours();
    return lattice_;
  }

 private:
  int dims() const { return Dims ? Dims : static_cast<int>(features_.size(1)); }
  int corners() const { return dims() + 1; }

  void locate_chunk(int64_t begin, int64_t end) {
    Chunk<Key>& chunk = chunks_[begin / kChunk];
    KeyTable<Key> table(13);
    std::vector<Recent> recent(kRecent);
    SimplexLanes<Key, kSize> lanes;
    static_assert(kLanes == kBlock);
    for (int64_t first = begin; first < end; first += kBlock) {
      const int count = static_cast<int>(std::min<int64_t>(kBlock, end - first));
      for (int i = 0; i < dims(); ++i) {
        const float* feature = row(features_, first) + i * features_.stride(1);
        for (int l = 0; l < kBlock; ++l) lanes.feature[i][l] = feature[std::min(l, count - 1) * features_.stride(0)];
      }
      locate_block<Key, Dims>(packing_, scale_, dims(), lanes);
      float* weight = &lattice_->point_weight[first_corner(first, corners())];
      for (int r = 0; r < corners(); ++r) {
        for (int l = 0; l < kBlock; ++l) weight[r * kBlock + l] = l < count ? lanes.weight[r][l] : 0.f;
      }
      int32_t* vertex = &lattice_->point_vertex[first_corner(first, corners())];
      if (count < kBlock) std::fill_n(vertex, corners() * kBlock, 0);
      for (int l = 0; l < count; ++l) number_corners(lanes, l, vertex + l, table, recent, chunk.cursor);
    }
    chunk.keys = table.take_keys();
    chunk.located = true;
  }

  // The vertex numbers of one point's corners.
  void number_corners(const SimplexLanes<Key, kSize>& lanes, int l, int32_t* vertex, KeyTable<Key>& table,
                      std::vector<Recent>& recent, std::vector<int64_t>& cursor) {
    Key key = lanes.key[l];
    const uint64_t order = lanes.order[l];
    Recent& same = recent[(static_cast<uint64_t>(key) * 0x9e3779b97f4a7c15ULL + order * 0xff51afd7ed558ccdULL) >>
                          (64 - kRecentBits)];
    // The ranks of sixteen coordinates do not fit into `order`.
    if (same.order != order || same.key != key || dims() == kMaxDims) {
      same.order = order;
      same.key = key;
      Key at_rank[kSize + 1];  // what the coordinate of this rank wraps by
      for (int i = 0; i <= dims(); ++i)
        at_rank[lanes.rank[i][l]] = i < dims() ? packing_.unit[i] * Key(corners()) : Key(0);
      for (int r = 0; r < corners(); ++r) {
        if (r > 0) key += packing_.ones - at_rank[corners() - r];
        same.number[r] = table.insert(key);
        if (same.number[r] == static_cast<int32_t>(cursor.size())) cursor.push_back(0);
      }
    }
    for (int r = 0; r < corners(); ++r) {
      vertex[r * kBlock] = same.number[r];
      ++cursor[same.number[r]];
    }
  }

  // Merges all chunks that are next in order; does nothing if another thread is merging.
  void merge_located() {
    const std::unique_lock<std::mutex> lock(merging_, std::try_to_lock);
    if (!lock) return;
    while (merged_ < chunks_.size() && chunks_[merged_].located) {
      // If memory runs out in the middle of a chunk, the table can no longer be used.
      const size_t next = std::exchange(merged_, chunks_.size());
      merge(chunks_[next]);
      merged_ = next + 1;
    }
  }

  void merge(Chunk<Key>& chunk) {
    const size_t count = chunk.keys.size();
    chunk.vertex.resize(count);
    for (size_t number = 0; number < count; ++number) {
      table_.prefetch(chunk.keys[std::min(number + kAhead, count - 1)]);
      const int32_t vertex = table_.insert(chunk.keys[number]);
      if (vertex == static_cast<int32_t>(next_entry_.size())) next_entry_.push_back(0);
      next_entry_[vertex] += chunk.cursor[number];
      chunk.vertex[number] = vertex + 1;
    }
    std::vector<Key>().swap(chunk.keys);
  }

  // Turns counts of entries, of each vertex and within each chunk, into start positions.
  void start_rows() {
    lattice_->vertices = static_cast<int64_t>(table_.keys().size());
    next_entry_.resize(lattice_->vertices, 0);

    lattice_->row_start = AlignedBuffer<int64_t>(lattice_->vertices + 1);
    int64_t start = 0;
    for (int64_t vertex = 0; vertex < lattice_->vertices; ++vertex) {
      lattice_->row_start[vertex] = start;
      start += std::exchange(next_entry_[vertex], start);
    }
    lattice_->row_start[lattice_->vertices] = start;
    for (Chunk<Key>& chunk : chunks_) {
      for (size_t number = 0; number < chunk.vertex.size(); ++number) {
        int64_t& next = next_entry_[chunk.vertex[number] - 1];
        next += std::exchange(chunk.cursor[number], next);
      }
    }
  }

  void insert_zero() {
    const float feature[kMaxDims] = {};
    Simplex<Dims ? Dims : kMaxDims> simplex{};
    locate<Dims>(feature, scale_, dims(), simplex);
    Key key = packing_.pack(simplex.base, dims());
    for (int r = 0; r < corners(); ++r) {
      if (r > 0) key += packing_.step(simplex.at_rank[corners() - r], dims());
      table_.insert(key);
    }
  }

  void place_entries(int64_t begin, int64_t end) {
    constexpr int64_t kLine = kCacheLine / sizeof(Entry);
    Chunk<Key>& chunk = chunks_[begin / kChunk];
    const int64_t last = lattice_->entries.size() - 1;
    for (int64_t point = begin; point < end; ++point) {
      const int64_t first = first_corner(point, corners());
      for (int64_t corner = first; corner < first + corners() * kBlock; corner += kBlock) {
        const int32_t number = lattice_->point_vertex[corner];
        const int64_t entry = chunk.cursor[number]++;
        // The next cache line of a vertex: it must be loaded before it can be written to.
        __builtin_prefetch(&lattice_->entries[std::min(entry + kLine, last)], 1);
        lattice_->entries[entry] = {static_cast<int32_t>(point), lattice_->point_weight[corner]};
        lattice_->point_vertex[corner] = chunk.vertex[number];
      }
    }
  }

  void find_neighbours() {
    const int64_t vertices = lattice_->vertices;
    const std::vector<Key>& keys = table_.keys();
    lattice_->keys = AlignedBuffer<int32_t>(vertices * dims());
    neighbours_ = AlignedBuffer<Neighbours>(vertices * corners());
    parallel_for(vertices * corners(), kVertexGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) neighbours_[i] = {0, 0};
    });
    parallel_for(vertices, kVertexGrain, [&](int64_t begin, int64_t end) {
      for (int64_t vertex = begin; vertex < end; ++vertex) {
        packing_.unpack(keys[vertex], dims(), &lattice_->keys[vertex * dims()]);
      }
      for (int axis = 0; axis <= dims(); ++axis) {
        Neighbours* neighbours = &neighbours_[axis * vertices];
        const Key step = packing_.step(axis, dims());
        for (int64_t vertex = begin; vertex < end; ++vertex) {
          table_.prefetch(keys[std::min(vertex + kAhead, end - 1)] - step);
          const int32_t before = table_.find(keys[vertex] - step);
          if (before < 0) continue;
          neighbours[vertex].before = before + 1;
          neighbours[before].after = static_cast<int32_t>(vertex) + 1;  // no other thread writes it
        }
      }
    });
  }

  void chain_neighbours() {
    const int64_t vertices = lattice_->vertices;
    for (int axis = 0; axis <= dims(); ++axis) {
      const Neighbours* neighbours = &neighbours_[axis * vertices];
      int64_t length = vertices + 1;
      for (int64_t vertex = 0; vertex < vertices; ++vertex) length += neighbours[vertex].before == 0;
      lattice_->chain_start[axis + 1] = lattice_->chain_start[axis] + length;
    }
    lattice_->chains = AlignedBuffer<int32_t>(lattice_->chain_start[corners()]);
    parallel_for(corners(), 1, [&](int64_t axis, int64_t) {
      const Neighbours* neighbours = &neighbours_[axis * vertices];
      int32_t* next = &lattice_->chains[lattice_->chain_start[axis]];
      for (int64_t vertex = 0; vertex < vertices; ++vertex) {
        if (neighbours[vertex].before) continue;
        *next++ = 0;
        for (int32_t row = static_cast<int32_t>(vertex) + 1; row; row = neighbours[row - 1].after) *next++ = row;
      }
      *next = 0;
    });
  }

  const TensorView& features_;
  const Packing<Key> packing_;
  const float* scale_;
  std::shared_ptr<Lattice> lattice_ = std::make_shared<Lattice>();
  std::vector<Chunk<Key>> chunks_;
  std::mutex merging_;
  size_t merged_ = 0;
  KeyTable<Key> table_{16};
  std::vector<int64_t> next_entry_;       // by vertex: entries so far, counted; then where the next one goes
  AlignedBuffer<Neighbours> neighbours_;  // (dims + 1, vertices)
};

template <typename Key>
std::shared_ptr<const Lattice> build(const TensorView& features, const KeyFields& fields, const float* scale,
                                     bool with_zero) {
  const int dims = static_cast<int>(features.size(1));
  const Packing<Key> packing = make_packing<Key>(fields, dims);
  switch (dims) {
    case 2:
      return Builder<Key, 2>(features, packing, scale).build(with_zero);
    case 5:
      return Builder<Key, 5>(features, packing, scale).build(with_zero);
    default:
      return Builder<Key, 0>(features, packing, scale).build(with_zero);
  }
}

}  // namespace

int64_t Lattice::bytes() const {
  return point_vertex.bytes() + point_weight.bytes() + row_start.bytes() + entries.bytes() + keys.bytes() +
         chains.bytes();
}

std::shared_ptr<const Lattice> build_cpu(const TensorView& features, bool sse_padding) {
  const int dims = static_cast<int>(features.size(1));
  const bool with_zero = sse_padding && features.size(0) % 4 != 0;
  float scale[kMaxDims];
  scale_factors(dims, scale);
  const KeyFields needed = key_fields(features, with_zero, scale);
  return needed.bits <= 64 ? build<uint64_t>(features, needed, scale, with_zero)
                           : build<uint128_t>(features, needed, scale, with_zero);
}

}  // namespace deeplab::lattice
