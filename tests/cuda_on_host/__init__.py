"""Runs CUDA kernels, the CRF's with their Python side, on a machine without a GPU, slowly.

``python -m tests.cuda_on_host [--segment N] [--sanitize address,undefined] [pytest arguments]`` compiles the kernels as
plain C++ against ``include/``, a CUDA runtime of coroutines (see ``include/cuda_runtime.h``), puts a numpy-backed CuPy
in the place of CuPy, and runs ``tests/crf/test_cuda*.py`` and ``tests/ops/test_*_on_host.py``. With
``--segment 1048576`` each vertex is summed in the order of its points, as on the CPU. Says nothing about speed, and
CUB's sort is not the real one.
"""
