// Depthwise convolution: each channel has its own kernel, and there are as many input as output channels.
//
// The rule is that of hole.h: tap t of output o reads input o * stride - pad + t * dilation, or zero outside. A sum
// begins with the bias and runs over the kernel's rows, then columns. The sum of an input's gradient runs over the same
// taps in the same order. The gradient of a weight is summed over the images in order, each over the products of one
// plane.
//
// Only on the CPU; on CUDA cuDNN computes it.
#pragma once

#include <cstdint>

#include "../hole/hole.h"

namespace deeplab::depthwise {

using hole::Geometry;

#ifndef __CUDACC_RTC__

// All tensors are contiguous and of one dtype: x (N, C, H, W), weight (C, 1, KH, KW), y (N, C, OH, OW).
// bias (C,) may be null.
void forward_cpu(const TensorView& x, const TensorView& weight, const TensorView* bias, const TensorView& y,
                 const Geometry& geometry);
// For inference: x (N, C, H, W) and y (N, C, OH, OW) channels-last without gaps, taps (KH, KW, C) and bias (C,)
// contiguous, all float32. Taps outside of the image are skipped. With `relu`, y is max(sum, 0), and at most `ceiling`.
void forward_channels_last_cpu(const TensorView& x, const TensorView& taps, const TensorView* bias, const TensorView& y,
                               const Geometry& geometry, bool relu, float ceiling);
// grad (N, C, OH, OW) is the gradient of y. Either result may be null, and is not computed then.
void backward_cpu(const TensorView& grad, const TensorView& x, const TensorView& weight, const TensorView* grad_x,
                  const TensorView* grad_weight, const Geometry& geometry);

#endif

}  // namespace deeplab::depthwise
