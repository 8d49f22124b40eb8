// The layout of a plane in a buffer, such that each tap reads one contiguous piece, without borders and strides.
//
// The buffer has the padded plane, split into phases: a phase has the pixels whose row and column have given remainders
// modulo the stride. All phases have the same pitch, which is wide enough that the outputs too can be stored in rows
// with this pitch, with a gap after each. Then output number i reads element i + offset of the tap's phase, for every
// i, so that one loop covers all rows. Results in the gaps are not used.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "depthwise.h"

namespace deeplab::depthwise {

// One axis of the buffer.
struct Side {
  // Elements [begin, end) of a phase are inside the input; element i there is input `first` + (i - begin) * stride.
  struct Phase {
    int64_t remainder, begin, end, first;
  };
  struct Tap {
    int64_t phase, offset;
  };

  Axis axis;
  int64_t length;  // of each phase
  std::vector<Phase> phases;
  std::vector<Tap> taps;

  explicit Side(const Axis& given)
      : axis(given), length(given.out + (given.kernel - 1) * given.dilation / given.stride) {
    for (int64_t k = 0; k < axis.kernel; ++k) {
      const int64_t remainder = k * axis.dilation % axis.stride;
      const auto found =
          std::find_if(phases.begin(), phases.end(), [=](const Phase& phase) { return phase.remainder == remainder; });
      taps.push_back({found - phases.begin(), k * axis.dilation / axis.stride});
      if (found != phases.end()) continue;
      // The phase has what a tap at the remainder reads for `length` outputs.
      const Axis single{axis.in, length, 1, axis.pad, axis.stride, remainder};
      Phase phase{remainder, 0, 0, 0};
      hole::inside(single, 1, phase.begin, phase.end);
      phase.first = hole::source(single, phase.begin, int64_t{1});
      phases.push_back(phase);
    }
  }

  // Whether each pixel of the input belongs to a phase.
  bool covers() const {
    int64_t count = 0;
    for (const Phase& phase : phases) count += phase.end - phase.begin;
    return count == axis.in;
  }
};

struct Plan {
  struct Tap {
    int64_t index;   // in the kernel
    int64_t offset;  // in the phase
  };
  struct Phase {
    Side::Phase y, x;
    int64_t start;  // in the buffer
    std::vector<Tap> taps;
  };

  Side y, x;
  int64_t pitch, phase_size;
  int64_t most_offset;
  std::vector<Phase> phases;
  std::vector<int64_t> reads;  // in the buffer, for output 0: of each tap, in the kernel's order

  explicit Plan(const Geometry& geometry)
      : y(geometry.y), x(geometry.x), pitch(x.length), phase_size(product({y.length, x.length})), most_offset(0) {
    for (const Side::Phase& row : y.phases) {
      for (const Side::Phase& column : x.phases) {
        phases.push_back({row, column, product({static_cast<int64_t>(phases.size()), phase_size}), {}});
      }
    }
    for (const Side::Tap& row : y.taps) {
      for (const Side::Tap& column : x.taps) {
        Phase& phase = phases[row.phase * x.phases.size() + column.phase];
        const int64_t offset = row.offset * pitch + column.offset;
        phase.taps.push_back({static_cast<int64_t>(reads.size()), offset});
        reads.push_back(phase.start + offset);
        most_offset = std::max(most_offset, offset);
      }
    }
  }

  int64_t taps() const { return static_cast<int64_t>(reads.size()); }
  int64_t in_plane() const { return y.axis.in * x.axis.in; }
  int64_t out_plane() const { return y.axis.out * x.axis.out; }
  int64_t buffer_size() const { return product({static_cast<int64_t>(phases.size()), phase_size}); }
  // Length from the first to the last output, in rows with the pitch.
  int64_t out_span() const { return (y.axis.out - 1) * pitch + x.axis.out; }
  int64_t work() const { return taps() * y.axis.out * pitch; }
  bool covers() const { return y.covers() && x.covers(); }
};

}  // namespace deeplab::depthwise
