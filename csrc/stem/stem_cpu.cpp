// A product and its sum may be one FMA here, which is twice as fast on most processors: the original has no such sums
// whose rounding would have to be reproduced.
#ifdef __clang__
#pragma clang fp contract(fast)
#else
#pragma GCC optimize("fp-contract=fast")
#endif

#include <algorithm>
#include <vector>

#include "../common/panels.h"
#include "../common/parallel.h"
#include "../common/rectify.h"
#include "../common/simd.h"
#include "stem.h"

namespace deeplab::stem {
namespace {

// Rows of outputs that a thread computes from one copy of the input's rows, which stays in its nearer caches.
constexpr int64_t kRowsTogether = 8;

// The arguments of a call.
struct Job {
  Geometry geometry;
  const float* x;
  Strides strides;
  int64_t channels, outputs;
  const float* weights;
  // With zeros up to whole panels.
  std::vector<float> bias;
  bool relu;
  float ceiling;

  int64_t pitch() const { return (geometry.x.in + 2 * geometry.x.pad) * channels; }  // of a copied row
  int64_t taps() const { return geometry.x.kernel * channels; }                      // of a kernel's row
  int64_t panel_size() const { return geometry.y.kernel * taps() * kPanel; }
};

// Copies rows [first, first + count) of the padded image, the channels of a pixel adjacent.
void copy_rows(const Job& job, int64_t image, int64_t first, int64_t count, float* target) {
  const int64_t pad = job.geometry.x.pad * job.channels, width = job.geometry.x.in;
  for (int64_t row = 0; row < count; ++row, target += job.pitch()) {
    const int64_t y = first + row - job.geometry.y.pad;
    if (y < 0 || y >= job.geometry.y.in || width == 0) {  // of an image without pixels the pointer may be null
      std::fill_n(target, job.pitch(), 0.0f);
      continue;
    }
    std::fill_n(target, pad, 0.0f);
    std::fill_n(target + pad + width * job.channels, pad, 0.0f);
    for (int64_t c = 0; c < job.channels; ++c) {
      const float* from = job.x + image * job.strides.n + c * job.strides.c + y * job.strides.y;
      float* to = target + pad + c;
      for (int64_t x = 0; x < width; ++x) to[x * job.channels] = from[x * job.strides.x];
    }
  }
}

// Computes kPixels neighbouring outputs of kPanels panels: `rows` is where the first output's taps begin, `y` its
// place.
template <typename L, int kPixels, int kPanels>
DEEPLAB_ALWAYS_INLINE void convolve(const Job& job, const float* rows, int64_t panel, float* y) {
  using Float = typename L::Float;
  using Loose = typename L::LooseFloat;
  constexpr int kVectors = kPanels * static_cast<int>(kPanel) / L::kLanes;
  const int64_t step = job.geometry.x.stride * job.channels, taps = job.taps(), first = panel * kPanel;
  Float sums[kPixels][kVectors];
#pragma GCC unroll 16
  for (int v = 0; v < kVectors; ++v) {
    const Float bias = *reinterpret_cast<const Loose*>(job.bias.data() + first + v * L::kLanes);
#pragma GCC unroll 16
    for (int pixel = 0; pixel < kPixels; ++pixel) sums[pixel][v] = bias;
  }
  const float* weights = job.weights + panel * job.panel_size();
  for (int64_t row = 0; row < job.geometry.y.kernel; ++row, rows += job.pitch()) {
    for (int64_t tap = 0; tap < taps; ++tap, weights += kPanel) {
      Float weight[kVectors];
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; ++v) {
        const int64_t at = v * L::kLanes;
        weight[v] = *reinterpret_cast<const Loose*>(weights + at / kPanel * job.panel_size() + at % kPanel);
      }
#pragma GCC unroll 16
      for (int pixel = 0; pixel < kPixels; ++pixel) {
        const float value = rows[pixel * step + tap];
#pragma GCC unroll 16
        for (int v = 0; v < kVectors; ++v) sums[pixel][v] += value * weight[v];
      }
    }
  }
#pragma GCC unroll 16
  for (int pixel = 0; pixel < kPixels; ++pixel) {
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) {
      Float value = sums[pixel][v];
      if (job.relu) rectify(value, job.ceiling);
      const int64_t begin = first + v * L::kLanes, whole = std::min<int64_t>(L::kLanes, job.outputs - begin);
      float* target = y + pixel * job.outputs + begin;
      if (whole == L::kLanes) {
        *reinterpret_cast<Loose*>(target) = value;
      } else {
        for (int64_t lane = 0; lane < whole; ++lane) target[lane] = value[lane];
      }
    }
  }
}

// All remaining outputs of a row, at most kPixels.
template <typename L, int kPixels, int kPanels>
DEEPLAB_ALWAYS_INLINE void convolve_pixels(const Job& job, const float* rows, int64_t panel, float* y, int64_t count) {
  if (count >= kPixels) return convolve<L, kPixels, kPanels>(job, rows, panel, y);
  if constexpr (kPixels > 1) convolve_pixels<L, kPixels - 1, kPanels>(job, rows, panel, y, count);
}

// Computes a row of outputs, `y`, from the copied rows that its taps read.
template <typename L>
DEEPLAB_ALWAYS_INLINE void convolve_row(const Job& job, const float* rows, float* y) {
  constexpr int kPixels = PanelRegisters<L::kLanes>::kRows, kPanels = PanelRegisters<L::kLanes>::kPanels;
  const int64_t width = job.geometry.x.out, panels = panels_of(job.outputs);
  const int64_t step = job.geometry.x.stride * job.channels;
  // Blocks of about the same size: a block of few outputs would not keep the processor's units busy.
  const int64_t blocks = (width + kPixels - 1) / kPixels;
  for (int64_t block = 0; block < blocks; ++block) {
    const int64_t x = block * width / blocks, count = (block + 1) * width / blocks - x;
    for (int64_t panel = 0; panel < panels; panel += kPanels) {
      if (kPanels == 1 || panel + kPanels <= panels) {
        convolve_pixels<L, kPixels, kPanels>(job, rows + x * step, panel, y + x * job.outputs, count);
      } else {
        convolve_pixels<L, kPixels, 1>(job, rows + x * step, panel, y + x * job.outputs, count);
      }
    }
  }
}

#define DEEPLAB_DEFINE_ROW(attribute, lanes) \
  attribute void convolve_row(const Job& job, const float* rows, float* y) { convolve_row<lanes>(job, rows, y); }
DEEPLAB_TARGET_VERSIONS(DEEPLAB_DEFINE_ROW)

}  // namespace

void forward_cpu(const TensorView& x, const TensorView& panels, const TensorView* bias, const TensorView& y,
                 const Geometry& geometry, bool relu, float ceiling) {
  if (y.numel() == 0) return;
  const int64_t outputs = y.size(1);
  Job job{geometry,
          x.ptr<const float>(),
          strides_of(x),
          x.size(1),
          outputs,
          panels.ptr<const float>(),
          std::vector<float>(panels_of(outputs) * kPanel),
          relu,
          ceiling};
  if (bias) std::copy_n(bias->ptr<const float>(), outputs, job.bias.begin());
  const Axis& rows = job.geometry.y;
  const int64_t bands = (rows.out + kRowsTogether - 1) / kRowsTogether, row_size = job.geometry.x.out * outputs;
  parallel_for(x.size(0) * bands, 1, [&](int64_t chunk, int64_t) {
    const int64_t image = chunk / bands, band = chunk % bands;
    const int64_t begin = band * rows.out / bands, end = (band + 1) * rows.out / bands;
    const int64_t count = (end - begin - 1) * rows.stride + rows.kernel;
    std::vector<float> copied(count * job.pitch());
    copy_rows(job, image, begin * rows.stride, count, copied.data());
    for (int64_t row = begin; row < end; ++row) {
      convolve_row(job, copied.data() + (row - begin) * rows.stride * job.pitch(),
                   y.ptr<float>() + (image * rows.out + row) * row_size);
    }
  });
}

}  // namespace deeplab::stem
