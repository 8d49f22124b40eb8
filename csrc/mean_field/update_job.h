// Arguments of the kernels of a mean field step. No host code: this also compiles at run time (NVRTC).
#pragma once

#include <cstdint>

#include "../common/host_device.h"

namespace deeplab::mean_field {

constexpr int kMaxSlices = 4;
constexpr int kMaxUpdates = 8;

// The message of one kernel.
struct SliceJob {
  const int32_t* point_vertex;
  const float* point_share;
  const void* values;
  const float* after;  // null for 1
  float weight;
  float unscale;  // undoes FilterJob::scale
  int32_t corners;
};
struct UpdateJob {
  const float* start;  // what the messages are added to
  float* q;
  int64_t points;
  int32_t slices;
  SliceJob slice[kMaxSlices];
};
// The jobs of one launch, by blockIdx.y.
struct Updates {
  UpdateJob job[kMaxUpdates];
};
static_assert(sizeof(Updates) <= 3584, "too many arguments for a kernel");

// An image's plane of a channel, or a pixel's position in it.
struct Planes {
  float* data;
  int64_t stride_c, stride_y, stride_x;
  int32_t width;

  DEEPLAB_HOST_DEVICE int64_t offset(int32_t point) const {
    return point / width * stride_y + point % width * stride_x;
  }
};

}  // namespace deeplab::mean_field
