// Winograd's convolution with a kernel of 3 x 3 and stride 1, for inference on the CPU: tiles of m x m outputs are a
// sum over the channels of (m + 2)^2 products of transformed pixels and transformed weights, where a direct convolution
// takes 9 m^2. A. Lavin and S. Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016.
//
// A dilation d splits the image into d * d images, each of every d-th pixel, and every tile lies within one of those.
// Nothing is copied for this: a tile's pixels are d apart.
//
// The products of an output are summed over the channels in their order, for any number of threads. They are rounded
// once (FMA) if the processor can, so other processors may differ in the last bits.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../common/nchw.h"

namespace deeplab::winograd {

// Operations on a sum before it is written, in this order.
struct Epilogue {
  const float* bias;   // (O,), or null
  const float* other;  // like y, or null: is added
  bool relu;
  float ceiling;  // of what is rectified
};

constexpr int64_t kKernel = 3;

// Inputs along an axis of a tile of `tile` outputs: 2 or 4.
inline int64_t tile_inputs(int64_t tile) { return tile + kKernel - 1; }

// weight (O, C, 3, 3) contiguous float32; transformed ((tile + 2)^2, panels of common/panels.h, C, kPanel) float32
// contiguous.
void transform_weight_cpu(const TensorView& weight, const TensorView& transformed, int64_t tile);
// x (N, C, H, W) and y (N, O, OH, OW) channels-last without gaps, float32. C is at least kPanel.
void forward_cpu(const TensorView& x, const TensorView& transformed, const TensorView& y, const Axis& rows,
                 const Axis& columns, int64_t tile, const Epilogue& epilogue);

// Memory that calls keep for later calls: its size, and its release.
size_t kept_bytes();
void clear_kept();

}  // namespace deeplab::winograd
