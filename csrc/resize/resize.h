// Resizes an image of bytes: cv::resize with INTER_LINEAR on uint8 (OpenCV 2.4 to 4.6, modules/imgproc/src/resize.cpp),
// whose fixed-point arithmetic gives the same bits everywhere.
//
// The rule: a weight has 11 fractional bits. Horizontally, two pixels are weighted and 4 bits dropped. Vertically, two
// such rows are weighted and 16 bits dropped of each; 2 is added to their sum and 2 bits are dropped.
#pragma once

#include <cstdint>

#include "../common/tensor_view.h"

namespace deeplab::resize {

// The source of each output index of an axis: two indices and their weights.
struct Taps {
  const int32_t *low, *high, *low_weight, *high_weight;
};

// image (H, W, C) uint8, any strides; out (h, w, C) uint8, contiguous; taps: down (h), across (w).
void bilinear_cpu(const TensorView& image, const TensorView& out, const Taps& down, const Taps& across);

}  // namespace deeplab::resize
