"""Run CUDA kernels, and the CRF's Python code for them, slowly on a machine without a GPU.

``python -m tests.cuda_on_host [--segment N] [--sanitize address,undefined] [pytest arguments]`` compiles the kernels as
plain C++ against ``include/``, a CUDA runtime of coroutines (see ``include/cuda_runtime.h``), replaces CuPy by a
module on numpy, and runs ``tests/crf/test_cuda*.py`` and ``tests/ops/test_*_on_host.py``. With
``--segment 1048576`` each vertex is summed in the order of its points, as on the CPU. It does not show the
speed, and the sort is not CUB's.
"""
