// Argument checks of the operations that resize coarse scores and compute a window of the result.
#pragma once

#include "../common/check.h"
#include "interp.h"

namespace deeplab::interp {

inline void check_window(const TensorView& scores, int64_t height, int64_t width, const Window& window) {
  check_dim(scores, "scores", 4);
  DEEPLAB_CHECK(scores.size(1) >= 1 && scores.size(2) >= 1 && scores.size(3) >= 1,
                "scores: expected at least one channel, row and column, got ", scores.describe());
  constexpr int64_t kMost = int64_t{1} << 31;  // columns are counted in 32 bits
  DEEPLAB_CHECK(
      height >= 1 && width >= 1 && height < kMost && width < kMost && scores.size(2) < kMost && scores.size(3) < kMost,
      "scores: cannot resize ", scores.describe(), " to ", height, " x ", width);
  const bool fits = window.top >= 0 && window.left >= 0 && window.height >= 0 && window.width >= 0 &&
                    window.top <= height - window.height && window.left <= width - window.width;
  DEEPLAB_CHECK(fits, "crop: ", window.height, " x ", window.width, " pixels from row ", window.top, " and column ",
                window.left, " on are not within ", height, " x ", width);
}

}  // namespace deeplab::interp
