#include <cmath>
#include <limits>
#include <numeric>

#include "../common/device_runtime.h"
#include "../common/kernel_launch.h"
#include "../lattice/row_types.h"
#include "mean_field_cuda.h"
#include "update_job.h"
#ifdef DEEPLAB_WITH_CUDA
#include "update_kernels.cuh"
#endif

namespace deeplab::mean_field {
namespace {

constexpr const char* kSource = "mean_field/update_kernels.cuh";

using lattice::FilterJob;

constexpr unsigned int kEnergyBlocks = 256;  // fixed for all devices, because sums depend on it

Planes planes_of(const TensorView& image) {
  return {image.ptr<float>(), image.stride(0), image.stride(1), image.stride(2), static_cast<int32_t>(image.size(2))};
}

// One launch for several images: adds the messages of `job[..].slices` kernels, and normalises after the last kernel.
template <typename Storage>
void update(const Updates& updates, int count, int64_t vectors, bool softmax, int device, uintptr_t stream) {
  int64_t points = 0;
  for (int i = 0; i < count; ++i) points = std::max(points, updates.job[i].points);
  const auto over = [&](int64_t per_block) -> Launch {
    return {"mean field update",
            device,
            stream,
            {resident_blocks(device, points, per_block), static_cast<unsigned int>(count), 1},
            {kThreadsPerBlock, 1, 1}};
  };
  constexpr int kWarps = kThreadsPerBlock / 32;
  const int32_t last = softmax;
  const auto run = [&](auto vectors_per_lane) {
    using vectors_t = decltype(vectors_per_lane);
    const int32_t lanes = static_cast<int32_t>((vectors + vectors_t::value - 1) / vectors_t::value);
    launch_kernel(over(32 / lanes * kWarps),
                  DEEPLAB_KERNEL(kSource, deeplab::mean_field::update_kernel, Storage, vectors_t), updates, vectors,
                  lanes, last);
  };
  if (vectors <= 32) {
    run(std::integral_constant<int, 1>{});
  } else if (vectors <= 64) {
    run(std::integral_constant<int, 2>{});
  } else {
    launch_kernel(over(kWarps), DEEPLAB_KERNEL(kSource, deeplab::mean_field::update_wide_kernel, Storage), updates,
                  vectors, last);
  }
}

void update(const std::vector<UpdateJob>& jobs, const std::vector<std::vector<SliceJob>>& slices, int64_t vectors,
            bool half, int device, uintptr_t stream) {
  for (size_t first = 0; first < jobs.size(); first += kMaxUpdates) {
    const int count = static_cast<int>(std::min<size_t>(kMaxUpdates, jobs.size() - first));
    size_t most = 0;
    for (int i = 0; i < count; ++i) most = std::max(most, slices[first + i].size());
    // If there are more kernels than one launch takes, several launches accumulate in Q.
    for (size_t done = 0; done == 0 || done < most; done += kMaxSlices) {
      Updates updates{};
      for (int i = 0; i < count; ++i) {
        const std::vector<SliceJob>& own = slices[first + i];
        UpdateJob& job = updates.job[i] = jobs[first + i];
        if (done > 0) job.start = job.q;
        job.slices = 0;
        for (size_t k = done; k < own.size() && k < done + kMaxSlices; ++k) job.slice[job.slices++] = own[k];
      }
      const bool softmax = done + kMaxSlices >= most;
      if (half) {
        update<lattice::Half4>(updates, count, vectors, softmax, device, stream);
      } else {
        update<float4>(updates, count, vectors, softmax, device, stream);
      }
    }
  }
}

// A vertex' sum is at most the number of points, or a little more after blurring.
float half_scale(int64_t points) {
  constexpr float kLargestHalf = 65504.f;
  float scale = 1.f;
  while (2.f * static_cast<float>(points) * scale > kLargestHalf) scale *= 0.5f;
  return scale;
}

}  // namespace

CudaMeanField::CudaMeanField(int device, int64_t height, int64_t width, int64_t channels,
                             std::vector<CudaKernel> kernels, bool half)
    : device_(device),
      height_(height),
      width_(width),
      channels_(channels),
      row_(lattice::cuda_width(channels)),
      kernels_(std::move(kernels)),
      half_(half) {
  DEEPLAB_CHECK(height >= 1 && width >= 1 && channels >= 1, "expected at least one label and one pixel, got ", channels,
                " labels of ", height, " x ", width, " pixels");
  DEEPLAB_CHECK(height <= std::numeric_limits<int32_t>::max() / width, "expected fewer than 2^31 pixels, got ", height,
                " x ", width);
  for (size_t k = 0; k < kernels_.size(); ++k) {
    const auto& lattice = kernels_[k].lattice;
    DEEPLAB_CHECK(lattice && lattice->connected() && lattice->points() == height * width && lattice->device() == device,
                  "kernel ", k, ": expected a connected lattice of ", height * width, " points on cuda:", device);
    DEEPLAB_CHECK(!kernels_[k].costs || kernels_[k].cost_rows == 1 || kernels_[k].cost_rows == row_, "kernel ", k,
                  ": expected 1 or ", row_, " rows of costs, got ", kernels_[k].cost_rows);
  }
}

int64_t CudaMeanField::place(void* workspace) {
  Carver carver(workspace);
  const int64_t points = height_ * width_;
  scores_ = carver.take<float>(points * row_);
  q_ = carver.take<float>(points * row_);
  jobs_.clear();
  for (const CudaKernel& kernel : kernels_) {
    FilterJob job{};
    job.lattice = kernel.lattice->view();
    job.rows = q_;
    job.factor = kernel.before;
    job.costs = kernel.costs;
    job.cost_rows = kernel.cost_rows;
    job.scale = half_ ? half_scale(points) : 1.f;
    lattice::place(job, carver, row_, half_);
    jobs_.push_back(job);
  }
  return carver.bytes();
}

int64_t CudaMeanField::workspace_bytes() const { return CudaMeanField(*this).place(nullptr); }

void CudaMeanField::check_image(const TensorView& image, const char* name) const {
  check_sizes(image, name, {channels_, height_, width_});
  check_dtype(image, name, DType::kFloat32);
  DEEPLAB_CHECK(image.device == device_, name, ": expected a tensor on cuda:", device_, ", got ", image.describe());
}

void CudaMeanField::start(const TensorView& scores, bool probabilities, const TensorView& workspace, uintptr_t stream) {
  check_image(scores, "scores");
  lattice::check_cuda_memory(workspace, "workspace", device_, workspace_bytes());
  place(workspace.data);
  const int64_t points = height_ * width_, vectors = row_ / 4;
  // Lanes without a label are like a label that is impossible everywhere.
  launch_kernel(launch_over("mean field start", device_, stream, points * vectors),
                DEEPLAB_PLAIN_KERNEL(kSource, deeplab::mean_field::rows_kernel), planes_of(scores),
                static_cast<int32_t>(probabilities), -std::numeric_limits<float>::infinity(),
                reinterpret_cast<float4*>(scores_), static_cast<int32_t>(points), channels_, vectors);
  update({{scores_, q_, points, 0, {}}}, {{}}, vectors, half_, device_, stream);
}

void CudaMeanField::marginals(const TensorView& out, bool logarithm, uintptr_t stream) const {
  DEEPLAB_CHECK(q_, "an inference is started before it has marginals");
  check_image(out, "out");
  const int64_t points = height_ * width_, vectors = row_ / 4;
  launch_kernel(launch_over("marginals", device_, stream, points * vectors),
                DEEPLAB_PLAIN_KERNEL(kSource, deeplab::mean_field::marginals_kernel),
                reinterpret_cast<const float4*>(q_), planes_of(out), static_cast<int32_t>(logarithm),
                static_cast<int32_t>(points), channels_, vectors);
}

void CudaMeanField::set_marginals(const TensorView& q, uintptr_t stream) {
  DEEPLAB_CHECK(q_, "an inference is started before its marginals are set");
  check_image(q, "q");
  const int64_t points = height_ * width_, vectors = row_ / 4;
  launch_kernel(launch_over("marginals", device_, stream, points * vectors),
                DEEPLAB_PLAIN_KERNEL(kSource, deeplab::mean_field::rows_kernel), planes_of(q), int32_t{0}, 0.f,
                reinterpret_cast<float4*>(q_), static_cast<int32_t>(points), channels_, vectors);
}

std::vector<SliceJob> CudaMeanField::slices() const {
  std::vector<SliceJob> found;
  for (size_t k = 0; k < jobs_.size(); ++k) {
    const FilterJob& job = jobs_[k];
    found.push_back({job.lattice.point_vertex, job.lattice.point_share, job.values(), kernels_[k].after,
                     kernels_[k].weight, 1.f / job.scale, job.lattice.dims + 1});
  }
  return found;
}

int64_t CudaMeanField::energy_bytes() const {
  return (2 + static_cast<int64_t>(kernels_.size())) * kEnergyBlocks * static_cast<int64_t>(sizeof(double));
}

Energies CudaMeanField::energies(const TensorView& scratch, uintptr_t stream) {
  DEEPLAB_CHECK(q_, "an inference is started before it has energies");
  lattice::check_cuda_memory(scratch, "scratch", device_, energy_bytes());
  const int64_t points = height_ * width_, vectors = row_ / 4;
  double* sums = scratch.ptr<double>();
  const Launch over{"energies", device_, stream, {kEnergyBlocks, 1, 1}, {kThreadsPerBlock, 1, 1}};
  launch_kernel(over, DEEPLAB_PLAIN_KERNEL(kSource, deeplab::mean_field::energy_kernel),
                static_cast<const float*>(scores_), static_cast<const float*>(q_), points, channels_, row_, sums,
                sums + kEnergyBlocks);
  lattice::splat_and_blur(jobs_, row_, half_, false, device_, stream);
  double* own = sums + 2 * kEnergyBlocks;
  for (const SliceJob& slice : slices()) {
    const auto run = [&](auto* storage) {
      using Storage = std::remove_pointer_t<decltype(storage)>;
      launch_kernel(over, DEEPLAB_KERNEL(kSource, deeplab::mean_field::pairwise_energy_kernel, Storage), slice,
                    reinterpret_cast<const float4*>(q_), points, vectors, own);
    };
    if (half_) {
      run(static_cast<lattice::Half4*>(nullptr));
    } else {
      run(static_cast<float4*>(nullptr));
    }
    own += kEnergyBlocks;
  }
  std::vector<double> host(energy_bytes() / sizeof(double));
  read_back(device_, host.data(), sums, energy_bytes(), stream);
  const auto total = [&](size_t kind) {
    const auto first = host.begin() + static_cast<int64_t>(kind * kEnergyBlocks);
    return std::accumulate(first, first + kEnergyBlocks, 0.0);
  };
  Energies found{total(0), total(1), {}};
  for (size_t k = 0; k < kernels_.size(); ++k) found.pairwise.push_back(total(2 + k));
  return found;
}

void run_cuda(const std::vector<std::shared_ptr<CudaMeanField>>& fields, int64_t iterations, uintptr_t stream) {
  if (fields.empty()) return;
  const CudaMeanField& one = *fields[0];
  std::vector<FilterJob> filters;
  std::vector<UpdateJob> updates;
  std::vector<std::vector<SliceJob>> slices;
  for (const auto& field : fields) {
    DEEPLAB_CHECK(field->q_, "an inference is started before it runs");
    DEEPLAB_CHECK(field->row_ == one.row_ && field->half_ == one.half_ && field->device_ == one.device_,
                  "inferences that run together must have the same number of labels, storage and device");
    updates.push_back({field->scores_, field->q_, field->height_ * field->width_, 0, {}});
    slices.push_back(field->slices());
    filters.insert(filters.end(), field->jobs_.begin(), field->jobs_.end());
  }
  for (int64_t i = 0; i < iterations; ++i) {
    lattice::splat_and_blur(filters, one.row_, one.half_, false, one.device_, stream);
    update(updates, slices, one.row_ / 4, one.half_, one.device_, stream);
  }
}

void inspect_scores(const TensorView& scores, bool probabilities, const TensorView& faults, uintptr_t stream) {
  check_dim(scores, "scores", 3);
  check_dtype(scores, "scores", DType::kFloat32);
  check_dtype(faults, "faults", DType::kInt32);
  DEEPLAB_CHECK(!scores.on_cpu() && faults.device == scores.device && faults.numel() == 1 && scores.numel() > 0,
                "expected scores and one fault word on one CUDA device, got ", scores.describe(), " and ",
                faults.describe());
  const int64_t points = scores.size(1) * scores.size(2);
  DEEPLAB_CHECK(points <= std::numeric_limits<int32_t>::max(), "expected fewer than 2^31 pixels, got ",
                scores.describe());
  set_bytes(scores.device, faults.data, 0, sizeof(int32_t), stream);
  launch_kernel(launch_over("inspection of scores", scores.device, stream, points),
                DEEPLAB_PLAIN_KERNEL(kSource, deeplab::mean_field::inspect_kernel), planes_of(scores),
                static_cast<int32_t>(probabilities), static_cast<int32_t>(points), scores.size(0),
                static_cast<int32_t>(kNotFinite), static_cast<int32_t>(kNegative), static_cast<int32_t>(kAllZero),
                faults.ptr<int32_t>());
}

std::vector<int32_t> read_faults(const TensorView& faults, uintptr_t stream) {
  check_dtype(faults, "faults", DType::kInt32);
  check_contiguous(faults, "faults");
  std::vector<int32_t> result(faults.numel());
  read_back(faults.device, result.data(), faults.data, 4 * faults.numel(), stream);
  return result;
}

}  // namespace deeplab::mean_field
