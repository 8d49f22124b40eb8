// Convolution of an image with few channels, a network's first layer, for inference on the CPU. The rule is that of
// hole.h without dilation: tap t of output o reads input o * stride - pad + t, or zero outside.
//
// A sum begins with the bias and runs over the kernel's rows, columns and channels, in this order for any number of
// threads. It is rounded once for each product (FMA) if the processor can, so other processors may differ in the last
// bits.
#pragma once

#include <cstdint>

#include "../hole/hole.h"

namespace deeplab::stem {

using hole::Geometry;

// x (N, C, H, W) with any strides and y (N, O, OH, OW) channels-last without gaps; panels (those of
// common/panels.h, KH, KW, C, kPanel) contiguous; bias (O,) contiguous or null; all float32. With `relu`, y is
// max(sum, 0), and at most `ceiling`.
void forward_cpu(const TensorView& x, const TensorView& panels, const TensorView* bias, const TensorView& y,
                 const Geometry& geometry, bool relu, float ceiling);

}  // namespace deeplab::stem
