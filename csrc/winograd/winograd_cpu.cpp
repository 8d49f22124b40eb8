// A product and its sum may be one FMA here, which is twice as fast on most processors: the original has no such sums
// whose rounding would have to be reproduced.
#ifdef __clang__
#pragma clang fp contract(fast)
#else
#pragma GCC optimize("fp-contract=fast")
#endif

#include <algorithm>
#include <memory>
#include <vector>

#include "../common/parallel.h"
#include "../common/rectify.h"
#include "../common/workspace.h"
#include "product.h"
#include "rule.h"
#include "winograd.h"

namespace deeplab::winograd {
namespace {

// Tiles that go through all steps together. Their transformed pixels should stay in the second- or third-level cache;
// the more tiles there are, the less often the weights are read.
constexpr int64_t kTilesTogether = 48;
// With fewer groups per thread, some threads would wait long for others.
constexpr int64_t kGroupsOfThread = 4;
// Panels of outputs whose products stay in the second-level cache until they are transformed back. With more of them
// the transformed pixels are read less often, which pays if they do not fit into the cache as well.
constexpr int64_t kPanelsTogether = 4, kPanelsTogetherAtMost = 16;
constexpr int64_t kPixelsNearby = int64_t{768} << 10;  // bytes that fit

// Of a panel.
using Doubles __attribute__((vector_size(8 * kPanel))) = double;

int64_t round_up(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

// The arguments of a call.
struct Job {
  const float *x, *weight;
  float* y;
  int64_t channels, outputs, panels;
  Axis rows, columns;
  // Where the tiles of an axis begin, in outputs.
  std::vector<int64_t> row_tiles, column_tiles;
  // Stands for all pixels outside of the image.
  std::vector<float> zeros;
  // With zeros up to whole panels.
  std::vector<float> bias;
  Epilogue epilogue;
  int64_t panels_together = kPanelsTogether;

  int64_t tiles() const { return static_cast<int64_t>(row_tiles.size() * column_tiles.size()); }  // of an image
  // Distance between the transformed pixels of two tiles. A multiple of 4 KiB would map all rows of a block to the same
  // sets of the first-level cache.
  int64_t pitch() const { return round_up(channels, kPanel) + kPanel; }
};

// Tiles begin at every `tile`-th output of each of the images that a dilation makes.
std::vector<int64_t> tile_starts(const Axis& axis, int64_t tile) {
  std::vector<int64_t> starts;
  for (int64_t phase = 0; phase < std::min(axis.dilation, axis.out); ++phase) {
    for (int64_t out = phase; out < axis.out; out += tile * axis.dilation) starts.push_back(out);
  }
  return starts;
}

struct Tile {
  int64_t image, y, x;
};

Tile tile_at(const Job& job, int64_t index) {
  const int64_t of_image = index % job.tiles(), columns = static_cast<int64_t>(job.column_tiles.size());
  return {index / job.tiles(), job.row_tiles[of_image / columns], job.column_tiles[of_image % columns]};
}

// Writes one tile's transformed pixels: a row of `pitch` for each frequency, at distance `step`.
template <typename L, typename R>
DEEPLAB_ALWAYS_INLINE void transform_pixels(const Job& job, const Tile& tile, float* target, int64_t step) {
  using Float = typename L::Float;
  using Loose = typename L::LooseFloat;
  constexpr int kIn = R::kIn;
  const float* pixels[kIn][kIn];
#pragma GCC unroll 8
  for (int i = 0; i < kIn; ++i) {
    const int64_t y = tile.y - job.rows.pad + i * job.rows.dilation;
    for (int j = 0; j < kIn; ++j) {
      const int64_t x = tile.x - job.columns.pad + j * job.columns.dilation;
      const bool inside = y >= 0 && y < job.rows.in && x >= 0 && x < job.columns.in;
      pixels[i][j] =
          inside ? job.x + ((tile.image * job.rows.in + y) * job.columns.in + x) * job.channels : job.zeros.data();
    }
  }
  // The last vector may overlap the one before.
  for (int64_t next = 0; next < job.channels; next += L::kLanes) {
    const int64_t c = std::min(next, job.channels - L::kLanes);
    Float half[kIn][kIn];  // [column][transformed row]
#pragma GCC unroll 8
    for (int j = 0; j < kIn; ++j) {
      Float column[kIn];
#pragma GCC unroll 8
      for (int i = 0; i < kIn; ++i) column[i] = *reinterpret_cast<const Loose*>(pixels[i][j] + c);
      R::input(column, half[j]);
    }
#pragma GCC unroll 8
    for (int i = 0; i < kIn; ++i) {
      Float row[kIn], result[kIn];
#pragma GCC unroll 8
      for (int j = 0; j < kIn; ++j) row[j] = half[j][i];
      R::input(row, result);
#pragma GCC unroll 8
      for (int j = 0; j < kIn; ++j) *reinterpret_cast<Loose*>(target + (i * kIn + j) * step + c) = result[j];
    }
  }
}

// Writes the outputs [first, first + count) of a tile from their products: a row for each frequency, at distance
// `step`.
template <typename L, typename R>
DEEPLAB_ALWAYS_INLINE void transform_products(const Job& job, const Tile& tile, const float* products, int64_t step,
                                              int64_t first, int64_t count) {
  using Float = typename L::Float;
  using Loose = typename L::LooseFloat;
  constexpr int kIn = R::kIn, kOut = R::kOut;
  for (int64_t begin = 0; begin < count; begin += L::kLanes) {
    const int64_t whole = std::min<int64_t>(L::kLanes, count - begin), output = first + begin;
    Float half[kIn][kOut];  // [column][output row]
#pragma GCC unroll 8
    for (int j = 0; j < kIn; ++j) {
      Float column[kIn];
#pragma GCC unroll 8
      for (int i = 0; i < kIn; ++i)
        column[i] = *reinterpret_cast<const Loose*>(products + (i * kIn + j) * step + begin);
      R::output(column, half[j]);
    }
    const Float bias = *reinterpret_cast<const Loose*>(job.bias.data() + output);
#pragma GCC unroll 8
    for (int i = 0; i < kOut; ++i) {
      const int64_t y = tile.y + i * job.rows.dilation;
      if (y >= job.rows.out) break;
      Float row[kIn], result[kOut];
#pragma GCC unroll 8
      for (int j = 0; j < kIn; ++j) row[j] = half[j][i];
      R::output(row, result);
#pragma GCC unroll 8
      for (int j = 0; j < kOut; ++j) {
        const int64_t x = tile.x + j * job.columns.dilation;
        if (x >= job.columns.out) break;
        const int64_t at = ((tile.image * job.rows.out + y) * job.columns.out + x) * job.outputs + output;
        Float value = result[j] + bias;
        if (whole == L::kLanes) {
          if (job.epilogue.other) value += *reinterpret_cast<const Loose*>(job.epilogue.other + at);
          if (job.epilogue.relu) rectify(value, job.epilogue.ceiling);
          *reinterpret_cast<Loose*>(job.y + at) = value;
          continue;
        }
        for (int64_t lane = 0; lane < whole; ++lane) {
          float one = value[lane];
          if (job.epilogue.other) one += job.epilogue.other[at + lane];
          if (job.epilogue.relu) rectify(one, job.epilogue.ceiling);
          job.y[at + lane] = one;
        }
      }
    }
  }
}

// Panels of a product for all tiles of one frequency. `next` are the weights of the next call.
template <typename L>
DEEPLAB_ALWAYS_INLINE void multiply_panels(Product product, int64_t tiles, int64_t depth, int64_t panels,
                                           const float* next) {
  constexpr int kRows = Registers<L::kLanes>::kRows, kPanels = Registers<L::kLanes>::kPanels;
  constexpr int64_t kDepth = Registers<L::kLanes>::kDepth;
  // Blocks of about the same number of rows: a block of few rows would not keep the processor's units busy.
  const int64_t blocks = (tiles + kRows - 1) / kRows;
  const float *a = product.a, *weights = product.panels;
  float* c = product.c;
  for (int64_t k = 0; k < depth; k += kDepth) {
    product.depth = std::min(kDepth, depth - k);
    product.add = k > 0;
    for (int64_t panel = 0; panel < panels; panel += kPanels) {
      product.panels = weights + panel * product.panel_size + k * kPanel;
      const float* following = panel + kPanels < panels ? product.panels + kPanels * product.panel_size
                               : k + kDepth < depth     ? weights + (k + kDepth) * kPanel
                                                        : next;
      for (int64_t block = 0; block < blocks; ++block) {
        const int64_t tile = block * tiles / blocks, rows = (block + 1) * tiles / blocks - tile;
        product.a = a + tile * product.a_row + k;
        product.c = c + tile * product.c_row + panel * kPanel;
        // The first block asks for one of the next panels, the others for the second.
        product.ahead = block == 0 ? following : following + product.panel_size;
        if (kPanels == 1 || panel + kPanels <= panels) {
          multiply_rows<L, kRows, kPanels>(product, rows);
        } else {
          multiply_rows<L, kRows, 1>(product, rows);
        }
      }
    }
  }
}

// Tiles that go through all steps together, and their transformed pixels: for each frequency a row of `pitch` for each
// of `slots` tiles.
struct Group {
  int64_t begin, tiles, slots;
  float* pixels;
};

// Floats of a group's transformed pixels, and of its products for the panels that are computed together.
template <typename R>
int64_t pixels_size(const Job& job, int64_t slots) {
  return R::kIn * R::kIn * slots * job.pitch();
}
template <typename R>
int64_t products_size(const Job& job, int64_t slots) {
  return R::kIn * R::kIn * slots * job.panels_together * kPanel;
}

// Transforms the pixels of some of a group's tiles.
template <typename L, typename R>
DEEPLAB_ALWAYS_INLINE void transform_tiles(const Job& job, const Group& group, int64_t begin, int64_t end) {
  for (int64_t tile = begin; tile < end; ++tile) {
    float* target = group.pixels + tile * job.pitch();
    transform_pixels<L, R>(job, tile_at(job, group.begin + tile), target, group.slots * job.pitch());
  }
}

// Computes the outputs of job.panels_together panels, from `panel`, for a group whose pixels are transformed.
template <typename L, typename R>
DEEPLAB_ALWAYS_INLINE void compute_panels(const Job& job, const Group& group, int64_t panel, float* products) {
  constexpr int kFrequencies = R::kIn * R::kIn;
  const int64_t tiles = group.tiles, pitch = job.pitch(), width = job.panels_together * kPanel;
  const int64_t panel_size = job.channels * kPanel, panels = std::min(job.panels_together, job.panels - panel);
  const auto weights_of = [&](int f) { return job.weight + (f * job.panels + panel) * panel_size; };
  for (int f = 0; f < kFrequencies; ++f) {
    multiply_panels<L>({group.pixels + f * group.slots * pitch, pitch, weights_of(f), panel_size, 0,
                        products + f * tiles * width, width, false},
                       tiles, job.channels, panels, weights_of(std::min(f + 1, kFrequencies - 1)));
  }
  const int64_t first = panel * kPanel, count = std::min(panels * kPanel, job.outputs - first);
  for (int64_t tile = 0; tile < tiles; ++tile) {
    const Tile at = tile_at(job, group.begin + tile);
    transform_products<L, R>(job, at, products + tile * width, tiles * width, first, count);
  }
}

// Number of panels that are multiplied at a time with a group of this many bytes of transformed pixels.
template <typename L>
DEEPLAB_ALWAYS_INLINE int64_t panels_together(int64_t pixels) {
  // Processors with narrower vectors have smaller caches: more panels were slower there.
  return L::kLanes == 16 && pixels > kPixelsNearby ? kPanelsTogetherAtMost : kPanelsTogether;
}

// Transforms the weights of a panel: (outputs, C, 3, 3) to (C, kPanel) for each frequency, `step` apart.
template <typename R>
DEEPLAB_ALWAYS_INLINE void transform_panel(const float* weight, float* target, int64_t outputs, int64_t channels,
                                           int64_t step) {
  constexpr int kIn = R::kIn;
  // Written together: the frequencies are a power of two apart, and a cache keeps only a few lines at such distances.
  constexpr int64_t kTogether = 8;
  alignas(64) float block[kIn * kIn][kTogether][kPanel];
  Doubles taps[kKernel][kKernel] = {};  // [row][column], zeros where there is no output
  for (int64_t first = 0; first < channels; first += kTogether) {
    const int64_t count = std::min(kTogether, channels - first);
    for (int64_t c = 0; c < count; ++c) {
      for (int64_t o = 0; o < outputs; ++o) {
        const float* kernel = weight + (o * channels + first + c) * kKernel * kKernel;
#pragma GCC unroll 9
        for (int tap = 0; tap < kKernel * kKernel; ++tap) taps[tap / kKernel][tap % kKernel][o] = kernel[tap];
      }
      Doubles half[kKernel][kIn];
#pragma GCC unroll 8
      for (int i = 0; i < kKernel; ++i) R::weight(taps[i], half[i]);
#pragma GCC unroll 8
      for (int j = 0; j < kIn; ++j) {
        Doubles column[kKernel], result[kIn];
#pragma GCC unroll 8
        for (int i = 0; i < kKernel; ++i) column[i] = half[i][j];
        R::weight(column, result);
#pragma GCC unroll 8
        for (int i = 0; i < kIn; ++i) {
          using Floats __attribute__((vector_size(4 * kPanel))) = float;
          *reinterpret_cast<Floats*>(block[i * kIn + j][c]) = __builtin_convertvector(result[i], Floats);
        }
      }
    }
    for (int f = 0; f < kIn * kIn; ++f) std::copy_n(block[f][0], count * kPanel, target + f * step + first * kPanel);
  }
}

// clang-format off
#define DEEPLAB_DEFINE_STEPS(attribute, lanes)                                                                  \
  attribute void transform_tiles(Rule<2>, const Job& job, const Group& group, int64_t begin, int64_t end) {     \
    transform_tiles<lanes, Rule<2>>(job, group, begin, end);                                                    \
  }                                                                                                             \
  attribute void transform_tiles(Rule<4>, const Job& job, const Group& group, int64_t begin, int64_t end) {     \
    transform_tiles<lanes, Rule<4>>(job, group, begin, end);                                                    \
  }                                                                                                             \
  attribute void compute_panels(Rule<2>, const Job& job, const Group& group, int64_t panel, float* products) {  \
    compute_panels<lanes, Rule<2>>(job, group, panel, products);                                                \
  }                                                                                                             \
  attribute void compute_panels(Rule<4>, const Job& job, const Group& group, int64_t panel, float* products) {  \
    compute_panels<lanes, Rule<4>>(job, group, panel, products);                                                \
  }                                                                                                             \
  attribute int64_t panels_together(int64_t pixels) { return panels_together<lanes>(pixels); }                  \
  attribute void transform_panel(Rule<2>, const float* weight, float* target, int64_t outputs,                  \
                                 int64_t channels, int64_t step) {                                              \
    transform_panel<Rule<2>>(weight, target, outputs, channels, step);                                          \
  }                                                                                                             \
  attribute void transform_panel(Rule<4>, const float* weight, float* target, int64_t outputs,                  \
                                 int64_t channels, int64_t step) {                                              \
    transform_panel<Rule<4>>(weight, target, outputs, channels, step);                                          \
  }
// clang-format on
DEEPLAB_TARGET_VERSIONS(DEEPLAB_DEFINE_STEPS)

// Memory of the threads, kept for the next call. Never destroyed: threads may outlive main.
const std::shared_ptr<Workspace>& kept() {
  // Layers need buffers of many sizes, each for a few milliseconds: one block for each thread serves them all.
  static const auto* workspace = new auto(std::make_shared<Workspace>(Workspace::kDefaultLimit, true));
  return *workspace;
}

struct Scratch : WorkspaceBuffer {
  explicit Scratch(int64_t floats) : WorkspaceBuffer(kept(), floats * sizeof(float)) {}
  float* data() const { return static_cast<float*>(WorkspaceBuffer::data()); }
};

// Each thread takes groups of tiles through all steps, so that transformed pixels stay in its caches.
template <typename R>
void run_by_groups(const Job& job, int64_t tiles, int64_t groups) {
  const int64_t together = (tiles + groups - 1) / groups;
  parallel_for(tiles, together, [&](int64_t begin, int64_t end) {
    const int64_t count = end - begin, pixels = pixels_size<R>(job, count);
    const Scratch scratch(pixels + products_size<R>(job, count));
    const Group group{begin, count, count, scratch.data()};
    transform_tiles(R(), job, group, 0, count);
    for (int64_t panel = 0; panel < job.panels; panel += job.panels_together) {
      compute_panels(R(), job, group, panel, scratch.data() + pixels);
    }
  });
}

// If there are few groups per thread, threads also divide the panels of a group: all pixels are transformed first.
template <typename R>
void run_by_panels(const Job& job, int64_t tiles) {
  const int64_t groups = (tiles + kTilesTogether - 1) / kTilesTogether, slots = (tiles + groups - 1) / groups;
  const Scratch scratch(groups * pixels_size<R>(job, slots));
  const auto group_at = [&](int64_t index) {
    const int64_t begin = index * slots;
    return Group{begin, std::min(slots, tiles - begin), slots, scratch.data() + index * pixels_size<R>(job, slots)};
  };
  parallel_for(tiles, 1, [&](int64_t tile, int64_t) {
    transform_tiles(R(), job, group_at(tile / slots), tile % slots, tile % slots + 1);
  });
  // Consecutive blocks read the same weights.
  const int64_t blocks = (job.panels + job.panels_together - 1) / job.panels_together,
                used = (tiles + slots - 1) / slots;
  parallel_for(blocks * used, 1, [&](int64_t index, int64_t) {
    const Scratch products(products_size<R>(job, slots));
    compute_panels(R(), job, group_at(index % used), index / used * job.panels_together, products.data());
  });
}

template <typename R>
void run_all(Job& job, int64_t images) {
  const int64_t tiles = images * job.tiles(), threads = num_threads();
  const int64_t groups = (tiles + kTilesTogether - 1) / kTilesTogether;
  if (threads == 1 || groups >= kGroupsOfThread * threads) {
    job.panels_together = panels_together(pixels_size<R>(job, kTilesTogether) * sizeof(float));
    // As many groups for each thread, of about the same size.
    run_by_groups<R>(job, tiles, round_up(groups, threads));
  } else {
    run_by_panels<R>(job, tiles);
  }
}

template <typename R>
void transform(const float* weight, float* transformed, int64_t outputs, int64_t channels) {
  const int64_t panels = panels_of(outputs);
  parallel_for(panels, 1, [&](int64_t panel, int64_t) {
    const int64_t first = panel * kPanel;
    transform_panel(R(), weight + first * channels * kKernel * kKernel, transformed + first * channels,
                    std::min(kPanel, outputs - first), channels, panels * channels * kPanel);
  });
}

// tile is 2 or 4.
template <typename Body>
void dispatch_tile(int64_t tile, const Body& body) {
  if (tile == 2) return body(Rule<2>());
  body(Rule<4>());
}

}  // namespace

size_t kept_bytes() { return kept()->bytes(); }

void clear_kept() { kept()->clear(); }

void transform_weight_cpu(const TensorView& weight, const TensorView& transformed, int64_t tile) {
  // Every group of tiles reads all of them, one frequency after the other.
  advise_huge_pages(transformed.data, transformed.numel() * sizeof(float));
  dispatch_tile(tile, [&](auto rule) {
    transform<decltype(rule)>(weight.ptr<const float>(), transformed.ptr<float>(), weight.size(0), weight.size(1));
  });
}

void forward_cpu(const TensorView& x, const TensorView& transformed, const TensorView& y, const Axis& rows,
                 const Axis& columns, int64_t tile, const Epilogue& epilogue) {
  if (y.numel() == 0) return;
  const int64_t outputs = y.size(1), panels = panels_of(outputs);
  Job job{x.ptr<const float>(),
          transformed.ptr<const float>(),
          y.ptr<float>(),
          x.size(1),
          outputs,
          panels,
          rows,
          columns,
          tile_starts(rows, tile),
          tile_starts(columns, tile),
          std::vector<float>(x.size(1)),
          std::vector<float>(panels * kPanel),
          epilogue};
  if (epilogue.bias) std::copy(epilogue.bias, epilogue.bias + outputs, job.bias.begin());
  dispatch_tile(tile, [&](auto rule) { run_all<decltype(rule)>(job, x.size(0)); });
}

}  // namespace deeplab::winograd
