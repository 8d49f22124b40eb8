// The kernels of domain_transform. No host code: this also compiles at run time (NVRTC).
#pragma once

#include <type_traits>

#include "../common/loops.cuh"
#include "domain_transform.h"

namespace deeplab::domain_transform {

// The map y -> slope * y + offset of a pixel, or of a run of pixels, applied to the value before it.
template <typename scalar_t>
struct Map {
  scalar_t slope, offset;

  __device__ scalar_t operator()(scalar_t y) const { return slope * y + offset; }
  __device__ Map after(const Map& first) const { return {slope * first.slope, slope * first.offset + offset}; }
};

// A block's threads: each has a segment of a tile of kTile values on one of kLines lines. Neighbouring threads of a
// warp have neighbouring segments of a row, or neighbouring columns.
template <bool kRows>
struct Lanes {
  static constexpr int kItems = 9;  // numbers of a segment; a tile of 576 holds a row of 513
  static constexpr int kSegments = kRows ? 64 : 16;
  static constexpr int kLines = kThreadsPerBlock / kSegments;
  static constexpr int kTile = kSegments * kItems;

  int segment, line;

  __device__ Lanes()
      : segment(static_cast<int>(threadIdx.x) / (kRows ? 1 : kLines) % kSegments),
        line(static_cast<int>(threadIdx.x) / (kRows ? kSegments : 1) % kLines) {}
  __device__ int place(int of_segment) const { return of_segment * kLines + line; }
};

// Composes the maps of a line's segments: maps[place(s)] becomes that of segments 0 to s.
template <typename scalar_t, bool kRows>
__device__ void scan_segments(const Lanes<kRows>& lanes, Map<scalar_t>* maps) {
  for (int reach = 1; reach < Lanes<kRows>::kSegments; reach *= 2) {
    __syncthreads();
    Map<scalar_t> mine = maps[lanes.place(lanes.segment)];
    if (lanes.segment >= reach) mine = mine.after(maps[lanes.place(lanes.segment - reach)]);
    __syncthreads();
    maps[lanes.place(lanes.segment)] = mine;
  }
  __syncthreads();
}

// One line, in one of the two directions.
template <typename scalar_t>
struct Way {
  int64_t length, step;  // numbers, and what lies between two in memory
  bool reverse;
  const scalar_t* edges;
  Weighting<scalar_t> weighting;

  __device__ int64_t index(int64_t place) const { return reverse ? length - 1 - place : place; }
  __device__ int64_t before(int64_t i) const { return reverse ? i + 1 : i - 1; }
  // Of pixel i and the one before it in this direction, the later one in reading order.
  __device__ int64_t later(int64_t i) const { return reverse ? i + 1 : i; }
};

// Processes a line tile by tile: each thread composes the maps of its segment, the block composes those of the
// segments, and with the results each thread processes its segment again. All threads of a block must call it, with the
// same length.
template <typename scalar_t, bool kRows, typename Pass>
__device__ void run_pass(const Pass& pass, const Way<scalar_t>& way, bool active, Map<scalar_t>* maps) {
  constexpr int kItems = Lanes<kRows>::kItems;
  const Lanes<kRows> lanes;
  scalar_t carry = 0;
  for (int64_t tile = 0; tile < way.length; tile += Lanes<kRows>::kTile) {
    const int64_t first = tile + lanes.segment * kItems;
    const int count = !active || first >= way.length ? 0
                      : way.length - first < kItems  ? static_cast<int>(way.length - first)
                                                     : kItems;
    scalar_t values[kItems], weights[kItems];
    Map<scalar_t> mine{1, 0};
#pragma unroll
    for (int e = 0; e < kItems; ++e) {
      if (e < count) {
        const int64_t i = way.index(first + e);
        values[e] = pass.load(i);
        if (first + e == 0) {
          mine = {0, values[e]};
        } else {
          weights[e] = way.weighting(way.edges[way.later(i) * way.step]);
          mine = pass.map(values[e], weights[e]).after(mine);
        }
      }
    }
    maps[lanes.place(lanes.segment)] = mine;
    scan_segments<scalar_t, kRows>(lanes, maps);
    scalar_t before = lanes.segment == 0 ? carry : maps[lanes.place(lanes.segment - 1)](carry);
    carry = maps[lanes.place(Lanes<kRows>::kSegments - 1)](carry);
#pragma unroll
    for (int e = 0; e < kItems; ++e) {
      if (e < count) {
        const int64_t i = way.index(first + e);
        before = first + e == 0 ? pass.put_first(i, values[e]) : pass.put(i, values[e], weights[e], before);
      }
    }
    __syncthreads();
  }
}

template <typename scalar_t>
struct Filter {
  const scalar_t* x;
  scalar_t* y;
  int64_t step;

  __device__ scalar_t load(int64_t i) const { return x[i * step]; }
  __device__ Map<scalar_t> map(scalar_t x, scalar_t weight) const { return {weight, x - weight * x}; }
  __device__ scalar_t put_first(int64_t i, scalar_t value) const { return y[i * step] = value; }
  __device__ scalar_t put(int64_t i, scalar_t value, scalar_t weight, scalar_t before) const {
    return y[i * step] = value + weight * (before - value);
  }
};

// The gradient of a pass in the opposite direction: what a pixel received from its neighbour flows back to it.
template <typename scalar_t>
struct Adjoint {
  const Way<scalar_t>& way;
  const scalar_t *x, *y;  // of the pass
  const scalar_t* grad_y;
  scalar_t *grad_x, *edges;

  __device__ scalar_t load(int64_t i) const { return grad_y[i * way.step]; }
  __device__ Map<scalar_t> map(scalar_t grad, scalar_t weight) const { return {weight, grad}; }
  __device__ scalar_t put_first(int64_t i, scalar_t grad) const { return finish(i, grad); }
  __device__ scalar_t put(int64_t i, scalar_t grad, scalar_t weight, scalar_t grad_before) const {
    const int64_t before = way.before(i) * way.step;
    const scalar_t flow = weight * grad_before;
    grad_x[before] = grad_before - flow;
    edges[way.later(i) * way.step] += way.weighting.slope() * flow * (y[i * way.step] - x[before]);
    return finish(i, grad + flow);
  }
  // No pixel follows the last one and would write its gradient.
  __device__ scalar_t finish(int64_t i, scalar_t grad) const {
    if (way.index(way.length - 1) == i) grad_x[i * way.step] = grad;
    return grad;
  }
};

// The part outside of the area, on a line of a block.
template <typename scalar_t, bool kRows>
__device__ void copy_outside(const scalar_t* from, scalar_t* to, int64_t begin, int64_t end, int64_t step,
                             bool nothing) {
  const Lanes<kRows> lanes;
  for (int64_t i = begin + lanes.segment; i < end; i += Lanes<kRows>::kSegments) {
    to[i * step] = nothing ? kNaN<scalar_t> : from[i * step];
  }
}

// A plane's rows or columns: those of the whole plane, and those that are filtered.
template <bool kRows>
struct Sides {
  Area area;
  int64_t lines, length, whole_lines, whole_length;

  template <typename scalar_t>
  __device__ Sides(const Planes<scalar_t>& planes, int64_t plane)
      : area(area_of(planes.sizes, planes.item(plane), planes.whole)),
        lines(kRows ? area.height : area.width),
        length(kRows ? area.width : area.height),
        whole_lines(kRows ? planes.whole.height : planes.whole.width),
        whole_length(kRows ? planes.whole.width : planes.whole.height) {}
};

// Filters rows or columns from x to middle and back to y; the arrays may be the same. With `copies` the values that are
// not filtered are copied from x to y.
template <typename scalar_t, typename rows_t>
__global__ void filter_kernel(const scalar_t* x, scalar_t* middle, scalar_t* y, Planes<scalar_t> planes, bool copies) {
  constexpr bool kRows = rows_t::value;
  __shared__ Map<scalar_t> maps[kThreadsPerBlock];
  const Lanes<kRows> lanes;
  const int64_t width = planes.whole.width, step = kRows ? 1 : width;
  for (int64_t plane = blockIdx.y; plane < planes.count; plane += gridDim.y) {
    const Sides<kRows> sides(planes, plane);
    for (int64_t block = blockIdx.x * static_cast<int64_t>(Lanes<kRows>::kLines); block < sides.whole_lines;
         block += gridDim.x * static_cast<int64_t>(Lanes<kRows>::kLines)) {
      const int64_t line = block + lanes.line, in_plane = line * (kRows ? width : 1);
      const int64_t offset = plane * planes.size() + in_plane;
      const bool active = line < sides.lines;
      Way<scalar_t> way{sides.length, step, false, planes.edges + planes.item(plane) * planes.size() + in_plane,
                        planes.weighting};
      run_pass<scalar_t, kRows>(Filter<scalar_t>{x + offset, middle + offset, step}, way, active, maps);
      way.reverse = true;
      run_pass<scalar_t, kRows>(Filter<scalar_t>{middle + offset, y + offset, step}, way, active, maps);
      if (copies && line < sides.whole_lines) {
        copy_outside<scalar_t, kRows>(x + offset, y + offset, active ? sides.length : 0, sides.whole_length, step,
                                      sides.area.height < 0);
      }
    }
  }
}

// The gradient of filter_kernel, from grad_y to grad_x, which may be the same; that of the edges is added to `edges`,
// (planes, H, W). With `copies` the values that are not filtered are copied from grad_y to grad_x.
template <typename scalar_t, typename rows_t>
__global__ void adjoint_kernel(const scalar_t* x, const scalar_t* middle, const scalar_t* y, const scalar_t* grad_y,
                               scalar_t* grad_x, scalar_t* edges, Planes<scalar_t> planes, bool copies) {
  constexpr bool kRows = rows_t::value;
  __shared__ Map<scalar_t> maps[kThreadsPerBlock];
  const Lanes<kRows> lanes;
  const int64_t width = planes.whole.width, step = kRows ? 1 : width;
  for (int64_t plane = blockIdx.y; plane < planes.count; plane += gridDim.y) {
    const Sides<kRows> sides(planes, plane);
    for (int64_t block = blockIdx.x * static_cast<int64_t>(Lanes<kRows>::kLines); block < sides.whole_lines;
         block += gridDim.x * static_cast<int64_t>(Lanes<kRows>::kLines)) {
      const int64_t line = block + lanes.line, in_plane = line * (kRows ? width : 1);
      const int64_t offset = plane * planes.size() + in_plane;
      const bool active = line < sides.lines;
      Way<scalar_t> way{sides.length, step, false, planes.edges + planes.item(plane) * planes.size() + in_plane,
                        planes.weighting};
      run_pass<scalar_t, kRows>(
          Adjoint<scalar_t>{way, middle + offset, y + offset, grad_y + offset, grad_x + offset, edges + offset}, way,
          active, maps);
      way.reverse = true;
      run_pass<scalar_t, kRows>(
          Adjoint<scalar_t>{way, x + offset, middle + offset, grad_x + offset, grad_x + offset, edges + offset}, way,
          active, maps);
      if (copies && line < sides.whole_lines) {
        copy_outside<scalar_t, kRows>(grad_y + offset, grad_x + offset, active ? sides.length : 0, sides.whole_length,
                                      step, sides.area.height < 0);
      }
    }
  }
}

// Sums the channels' edge gradients (planes, H, W), in their order, into (N, 1, H, W), which already holds the sums of
// an item's earlier planes.
template <typename scalar_t>
__global__ void add_kernel(const scalar_t* edges, scalar_t* grad_edges, Planes<scalar_t> planes) {
  const int64_t first_item = planes.item(0), items = planes.item(planes.count - 1) - first_item + 1;
  DEEPLAB_GRID_STRIDE_LOOP(index, items * planes.size()) {
    const int64_t item = first_item + index / planes.size(), pixel = index % planes.size();
    const int64_t begin = item * planes.channels - planes.first, end = begin + planes.channels;
    scalar_t sum = begin < 0 ? grad_edges[item * planes.size() + pixel] : scalar_t(0);
    for (int64_t plane = begin < 0 ? 0 : begin; plane < end && plane < planes.count; ++plane) {
      sum += edges[plane * planes.size() + pixel];
    }
    if (area_of(planes.sizes, item, planes.whole).height < 0) sum = kNaN<scalar_t>;
    grad_edges[item * planes.size() + pixel] = sum;
  }
}

}  // namespace deeplab::domain_transform
