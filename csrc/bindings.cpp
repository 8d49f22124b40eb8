// deeplab_caffe._C: each operation has its own bindings; this file has only what they share.
#include "common/bindings.h"

#include <algorithm>

#include "common/parallel.h"
#include "common/run_time_kernels.h"
#include "common/workspace.h"

namespace deeplab {
namespace argmax {
void bind(py::module_& module);
}
namespace depthwise {
void bind(py::module_& module);
}
namespace domain_transform {
void bind(py::module_& module);
}
namespace hole {
void bind(py::module_& module);
}
namespace interp {
void bind(py::module_& module);
}
namespace interp_argmax {
void bind(py::module_& module);
}
namespace interp_softmax {
void bind(py::module_& module);
}
namespace lattice {
void bind(py::module_& module);
void bind_cuda(py::module_& module);
}  // namespace lattice
namespace max_pool {
void bind(py::module_& module);
}
namespace mean_field {
void bind(py::module_& module);
void bind_cuda(py::module_& module);
}  // namespace mean_field
namespace mersenne {
void bind(py::module_& module);
}
namespace preprocess {
void bind(py::module_& module);
}
namespace resize {
void bind(py::module_& module);
}
namespace softmax_loss {
void bind(py::module_& module);
}
namespace stem {
void bind(py::module_& module);
}
namespace winograd {
void bind(py::module_& module);
}

namespace {

std::unique_ptr<TensorView> make_view(uintptr_t data, std::vector<int64_t> sizes, std::vector<int64_t> strides,
                                      const std::string& dtype, int device) {
  DEEPLAB_CHECK(sizes.size() == strides.size(), "TensorView: ", sizes.size(), " sizes but ", strides.size(),
                " strides");
  TensorView view{reinterpret_cast<void*>(data), std::move(sizes), std::move(strides), parse_dtype(dtype), device};
  int64_t bytes = dtype_bytes(view.dtype), counts = 1;
  for (int64_t size : view.sizes) {
    DEEPLAB_CHECK(size >= 0, "TensorView: negative size ", size);
    bytes = product({bytes, size});
    // Without sizes of 0: so the product of some of the sizes, like a plane's, fits too.
    counts = product({counts, std::max<int64_t>(size, 1)});
  }
  DEEPLAB_CHECK(data != 0 || bytes == 0, "TensorView: a null pointer for ", view.describe());
  DEEPLAB_CHECK(device >= kCpu, "TensorView: device ", device);
  return owned(std::move(view));
}

}  // namespace
}  // namespace deeplab

PYBIND11_MODULE(_C, module) {
  using deeplab::TensorView;
  using deeplab::Workspace;
  using deeplab::WorkspaceBuffer;
  module.doc() = "Kernels of deeplab_caffe. Knows no torch: it sees pointers, sizes, strides, a device and a stream.";
#ifdef DEEPLAB_WITH_CUDA
  module.attr("with_cuda") = true;
  module.attr("cuda_architectures") = DEEPLAB_CUDA_ARCHITECTURES;
#else
  module.attr("with_cuda") = false;
  module.attr("cuda_architectures") = "";
#endif
  py::class_<TensorView>(module, "TensorView", py::dynamic_attr())
      .def(py::init(&deeplab::make_view), py::arg("data"), py::arg("sizes"), py::arg("strides"), py::arg("dtype"),
           py::arg("device"))
      .def("__repr__", &TensorView::describe);
  py::class_<WorkspaceBuffer>(module, "WorkspaceBuffer", py::buffer_protocol(), "Bytes of a Workspace's block.")
      .def_buffer([](const WorkspaceBuffer& self) {
        return py::buffer_info(static_cast<uint8_t*>(self.data()), static_cast<py::ssize_t>(self.bytes()));
      });
  py::class_<Workspace, std::shared_ptr<Workspace>>(module, "Workspace",
                                                    "Large buffers of CPU computations, kept for their next use.")
      .def(py::init([](size_t limit, bool any_larger) { return std::make_shared<Workspace>(limit, any_larger); }),
           py::arg("limit") = +Workspace::kDefaultLimit, py::arg("any_larger") = false)
      .def_property("limit", &Workspace::limit, &Workspace::set_limit, "The most bytes that are kept.")
      .def_property_readonly("nbytes", &Workspace::bytes, "The bytes that are kept now.")
      .def("clear", &Workspace::clear, "Free what is kept.")
      .def(
          "buffer",
          [](std::shared_ptr<Workspace> self, size_t bytes) {
            DEEPLAB_CHECK(bytes <= PTRDIFF_MAX, "Workspace.buffer: ", bytes, " bytes are more than there can be");
            return std::unique_ptr<WorkspaceBuffer>(::new WorkspaceBuffer(std::move(self), bytes));
          },
          py::arg("bytes"), "Return memory of a kept or new block, which is kept again when nothing refers to it.");
  module.def("set_num_threads", &deeplab::set_num_threads, py::arg("threads"),
             "Set the number of threads of all CPU loops; 0 restores torch's or the environment's.");
  module.def("set_num_threads_here", &deeplab::set_num_threads_here, py::arg("threads"),
             "Set the same for what the calling thread calls; 0 restores the default.");
  module.def("use_openmp_here", &deeplab::use_openmp_here, py::arg("wanted"),
             "Let OpenMP's threads run the loops that the calling thread starts, or not; return what held before.");
  module.def("num_threads", &deeplab::num_threads);
  module.def("use_run_time_kernels", &deeplab::use_run_time_kernels,
             "Return whether deeplab_caffe.arrays.nvrtc compiles the kernels that are launched.");
  module.def("set_run_time_kernels", &deeplab::set_run_time_kernels, py::arg("wanted"),
             "Choose kernels compiled at run time (True) or those that the extension holds compiled (False).");
  deeplab::argmax::bind(module);
  deeplab::depthwise::bind(module);
  deeplab::domain_transform::bind(module);
  deeplab::hole::bind(module);
  deeplab::interp::bind(module);
  deeplab::interp_argmax::bind(module);
  deeplab::interp_softmax::bind(module);
  deeplab::lattice::bind(module);
  deeplab::lattice::bind_cuda(module);
  deeplab::max_pool::bind(module);
  deeplab::mean_field::bind(module);
  deeplab::mean_field::bind_cuda(module);
  deeplab::mersenne::bind(module);
  deeplab::preprocess::bind(module);
  deeplab::resize::bind(module);
  deeplab::softmax_loss::bind(module);
  deeplab::stem::bind(module);
  deeplab::winograd::bind(module);
}
