// Mean field inference on a GPU: as mean_field.h, in the same order of operations except for the sums over a vertex'
// points, for several images in the same launches.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "../common/tensor_view.h"
#include "../lattice/filter_cuda.h"
#include "../lattice/lattice_cuda.h"
#include "mean_field.h"
#include "update_job.h"

namespace deeplab::mean_field {

struct CudaKernel {
  std::shared_ptr<const lattice::CudaLattice> lattice;  // connected
  float weight;
  // Factors of Q before the filter, and of the message after it: (points) on the device, or null for 1.
  const float* before;
  const float* after;
  // Replaces the Potts model of the weight: minus the costs of labels, (1, row) for one cost per label, or (row, row)
  // for row k and column l; row = cuda_width(labels), 0 after the last label. Null for Potts.
  const float* costs;
  int32_t cost_rows;
};

// One image's inference. Its memory belongs to the caller and must live as long as the object.
class CudaMeanField {
 public:
  DEEPLAB_NEEDS_INIT(CudaMeanField)

  // With `half`, values on the vertices are stored in half precision (sums and everything else are float32).
  CudaMeanField(int device, int64_t height, int64_t width, int64_t channels, std::vector<CudaKernel> kernels,
                bool half);

  int64_t workspace_bytes() const;
  // Q = softmax(scores). scores (channels, height, width) float32, any strides; see MeanField for `probabilities`.
  void start(const TensorView& scores, bool probabilities, const TensorView& workspace, uintptr_t stream);
  // out (channels, height, width) float32, any strides: Q, or with `logarithm` log(max(Q, FLT_MIN))
  void marginals(const TensorView& out, bool logarithm, uintptr_t stream) const;
  // q (channels, height, width) float32, any strides
  void set_marginals(const TensorView& q, uintptr_t stream);
  // Waits for the device. `scratch`: energy_bytes().
  Energies energies(const TensorView& scratch, uintptr_t stream);
  int64_t energy_bytes() const;

 private:
  friend void run_cuda(const std::vector<std::shared_ptr<CudaMeanField>>& fields, int64_t iterations, uintptr_t stream);

  int64_t place(void* workspace);
  std::vector<SliceJob> slices() const;
  void check_image(const TensorView& image, const char* name) const;

  int device_;
  int64_t height_, width_, channels_, row_;  // row_: floats of a pixel's row
  std::vector<CudaKernel> kernels_;
  bool half_;
  float *scores_ = nullptr, *q_ = nullptr;  // (points, row)
  std::vector<lattice::FilterJob> jobs_;
};

// Iterations of several images at once, all with the same number of channels and storage. Never waits for the device.
void run_cuda(const std::vector<std::shared_ptr<CudaMeanField>>& fields, int64_t iterations, uintptr_t stream);

// Faults of scores (channels, height, width), as bits of one int32 that must be 0 first.
enum ScoreFault : int32_t { kNotFinite = 1, kNegative = 2, kAllZero = 4 };
void inspect_scores(const TensorView& scores, bool probabilities, const TensorView& faults, uintptr_t stream);
// Waits for the device.
std::vector<int32_t> read_faults(const TensorView& faults, uintptr_t stream);

}  // namespace deeplab::mean_field
