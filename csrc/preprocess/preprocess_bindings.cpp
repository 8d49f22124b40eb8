#include "../common/bindings.h"
#include "preprocess.h"

namespace deeplab::preprocess {
namespace {

void images(const TensorView& images, const TensorView& blob, const std::vector<float>& mean, uintptr_t stream) {
  check_dim(images, "images", 4);
  check_dim(blob, "blob", 4);
  check_dtype(images, "images", DType::kUInt8);
  DEEPLAB_CHECK(images.size(3) == kChannels, "images: expected (N, H, W, 3), got ", images.describe());
  DEEPLAB_CHECK(images.device == blob.device, "images and blob: expected one device, got ", images.describe(), " and ",
                blob.describe());
  DEEPLAB_CHECK(blob.size(0) == images.size(0) && blob.size(1) == kChannels && blob.size(2) >= images.size(1) &&
                    blob.size(3) >= images.size(2),
                "preprocess: ", images.describe(), " does not fit into ", blob.describe());
  DEEPLAB_CHECK(blob.is_contiguous() || is_channels_last(blob),
                "blob: expected contiguous or channels-last memory, got ", blob.describe());
  DEEPLAB_CHECK(mean.size() == kChannels, "preprocess: expected 3 means, got ", mean.size());
  DEEPLAB_DISPATCH_DEVICE(images, images, images, blob, Mean{{mean[0], mean[1], mean[2]}});
}

}  // namespace

void bind(py::module_& module) {
  module.def("preprocess", &images, py::arg("images"), py::arg("blob"), py::arg("mean"), py::arg("stream") = 0,
             py::call_guard<GilRelease>());
}

}  // namespace deeplab::preprocess
