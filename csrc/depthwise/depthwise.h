// Depthwise convolution: each channel has a kernel of its own, and there are as many channels in as out.
//
// The rule is hole.h's: tap t of output o reads input o * stride - pad + t * dilation, or zero outside. An output's sum
// begins with the bias and runs over the kernel's rows, then columns. A gradient of an input runs over the same taps in
// the same order. A gradient of a weight is the sum over the images, in their order, of one plane's products.
//
// CPU alone: on CUDA, cuDNN has this.
#pragma once

#include <cstdint>

#include "../hole/hole.h"

namespace deeplab::depthwise {

using hole::Geometry;

#ifndef __CUDACC_RTC__

// All contiguous, of one dtype: x (N, C, H, W), weight (C, 1, KH, KW), y (N, C, OH, OW).
// bias (C,) may be null.
void forward_cpu(const TensorView& x, const TensorView& weight, const TensorView* bias, const TensorView& y,
                 const Geometry& geometry);
// For inference: x (N, C, H, W) and y (N, C, OH, OW) channels-last without gaps, taps (KH, KW, C) and bias (C,)
// contiguous, all float32. What lies outside of the image is left out of a sum. With `relu` y is max(sum, 0), and at
// most `ceiling`.
void forward_channels_last_cpu(const TensorView& x, const TensorView& taps, const TensorView* bias, const TensorView& y,
                               const Geometry& geometry, bool relu, float ceiling);
// grad (N, C, OH, OW) is that of y. Either gradient may be null, and is not computed then.
void backward_cpu(const TensorView& grad, const TensorView& x, const TensorView& weight, const TensorView* grad_x,
                  const TensorView* grad_weight, const Geometry& geometry);

#endif

}  // namespace deeplab::depthwise
