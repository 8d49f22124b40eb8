// What normalises a filter, for either device.
#pragma once

#include "../common/host_device.h"

namespace deeplab::lattice {

// The factor of a point where ones are filtered to this.
DEEPLAB_HOST_DEVICE float norm_factor(float filtered_one) { return 1.f / (filtered_one + 1e-20f); }

}  // namespace deeplab::lattice
