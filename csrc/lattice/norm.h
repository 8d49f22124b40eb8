// The normalisation of a filter, for CPU and GPU.
#pragma once

#include "../common/host_device.h"

namespace deeplab::lattice {

// The factor of a point, from its value of the filtered ones.
DEEPLAB_HOST_DEVICE float norm_factor(float filtered_one) { return 1.f / (filtered_one + 1e-20f); }

}  // namespace deeplab::lattice
