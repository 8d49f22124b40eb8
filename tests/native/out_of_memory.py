"""Run every operation and the dense CRF once for each of its allocations, which fails: the child of its test.

Loaded under ``LD_PRELOAD`` of ``failing_allocations.cpp``. Prints a line for what is wrong, and ``done`` at the end.
"""

from __future__ import annotations

import ctypes
import subprocess
import sys
from collections.abc import Callable

import numpy as np

from deeplab_caffe import _C
from deeplab_caffe.crf import clear_cache, dense_crf
from deeplab_caffe.data import resize_bilinear
from deeplab_caffe.ops.argmax import argmax_labels
from deeplab_caffe.ops.depthwise import depthwise_conv2d, depthwise_conv2d_channels_last, depthwise_taps
from deeplab_caffe.ops.domain_transform import domain_transform, domain_transform_backward
from deeplab_caffe.ops.im2col import col2im, im2col
from deeplab_caffe.ops.interp import interp, interp_backward
from deeplab_caffe.ops.interp_argmax import interp_argmax
from deeplab_caffe.ops.interp_softmax import interp_softmax
from deeplab_caffe.ops.max_pool import max_pool
from deeplab_caffe.ops.preprocess import preprocess
from deeplab_caffe.ops.softmax_loss import softmax_loss
from deeplab_caffe.ops.stem import stem_conv2d, stem_panels
from deeplab_caffe.ops.winograd import clear_cache as clear_winograd
from deeplab_caffe.ops.winograd import winograd_conv2d, winograd_weight
from deeplab_caffe.pydensecrf.densecrf import DenseCRF2D

preloaded = ctypes.CDLL(None)
preloaded.count_allocations.restype = ctypes.c_int64
preloaded.fail_allocation.argtypes = [ctypes.c_int64]
preloaded.leave_out.argtypes = [ctypes.c_size_t, ctypes.c_size_t]

# Of one operation; the first ones, in which arguments are taken, and some of the rest.
MOST = 24

rng = np.random.default_rng(0)
scores = rng.standard_normal((2, 5, 19, 23)).astype(np.float32)
photo = rng.integers(0, 256, (41, 37, 3), np.uint8)
unary = rng.standard_normal((4, 41, 37)).astype(np.float32)
# Buffers of two huge pages and more come from a workspace.
large_photo = rng.integers(0, 256, (260, 340, 3), np.uint8)
large_unary = rng.standard_normal((21, 260, 340)).astype(np.float32)
classes = rng.integers(0, 5, (2, 1, 19, 23)).astype(np.float32)
nhwc = np.ascontiguousarray(scores.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
kernels = rng.standard_normal((5, 1, 3, 3)).astype(np.float32)
wide = rng.standard_normal((2, 16, 19, 23)).astype(np.float32)
weight = rng.standard_normal((24, 16, 3, 3)).astype(np.float32)
features = rng.standard_normal((41 * 37, 3)).astype(np.float32)


def refined() -> np.ndarray:
    """Return the marginals of pydensecrf's way: kernels, then steps."""
    crf = DenseCRF2D(37, 41, 4)
    crf.setUnaryEnergy(-unary.reshape(4, -1))
    crf.addPairwiseGaussian(sxy=3, compat=3)
    crf.addPairwiseBilateral(sxy=20, srgb=9, rgbim=photo, compat=np.eye(4, dtype=np.float32))
    return np.asarray(crf.inference(2))


OPERATIONS: dict[str, Callable[[], object]] = {
    "argmax_labels": lambda: argmax_labels(scores),
    "col2im": lambda: col2im(np.ones((2, 45, 19, 23), np.float32), (19, 23), 3, dilation=2, pad=2),
    "dense_crf": lambda: dense_crf(unary, photo),
    "dense_crf of a batch": lambda: dense_crf(np.stack([unary] * 3), np.stack([photo] * 3)),
    "dense_crf of a large image": lambda: dense_crf(large_unary, large_photo, iterations=1),
    "DenseCRF2D": refined,
    "depthwise_conv2d": lambda: depthwise_conv2d(scores, kernels, pad=6, dilation=6),
    "depthwise_conv2d_channels_last": lambda: depthwise_conv2d_channels_last(
        scores, depthwise_taps(kernels), pad=6, dilation=6
    ),
    "domain_transform": lambda: domain_transform(scores, scores[:, :1]),
    "domain_transform_backward": lambda: domain_transform_backward(scores, scores, scores[:, :1]),
    "im2col": lambda: im2col(scores, 3, dilation=2, pad=2),
    "interp": lambda: interp(scores, height=40, width=31),
    "interp_backward": lambda: interp_backward(scores, (7, 9)),
    "interp_argmax": lambda: interp_argmax(scores, 145, 177),
    "interp_softmax": lambda: interp_softmax(scores, 145, 177),
    "max_pool": lambda: max_pool(nhwc, (3, 3), (2, 2), (1, 1), (10, 12)),
    "preprocess": lambda: preprocess([photo], mean=(1.0, 2.0, 3.0)),
    "resize_bilinear": lambda: resize_bilinear(photo, 50, 60),
    "softmax_loss": lambda: (lambda found: (found.stats, found.totals))(softmax_loss(scores, classes)),
    "stem_conv2d": lambda: stem_conv2d(scores[:, :1], stem_panels(kernels), 5, stride=2, pad=1),
    "winograd_conv2d": lambda: winograd_conv2d(wide, winograd_weight(weight, 2), 24),
}


def bits(result: object) -> bytes:
    """Return the bytes of a result of arrays."""
    parts = result if isinstance(result, (tuple, list)) else [result]
    return b"".join(np.ascontiguousarray(part).tobytes() for part in parts)


def tried(n: int, count: int) -> bool:
    """Return whether the n-th of ``count`` allocations is made to fail."""
    return count <= MOST or n < MOST // 2 or n % (count // (MOST // 2)) == 0


def forget() -> None:
    """Give back what is kept for the next call, so that it allocates."""
    clear_cache()
    clear_winograd()


def check(name: str, run: Callable[[], object]) -> int:
    """Let each allocation of an operation fail once; return how many there were."""
    expected = bits(run())
    forget()
    preloaded.fail_allocation(-1)
    run()
    count: int = preloaded.count_allocations()
    for n in filter(lambda n: tried(n, count), range(count)):
        forget()
        preloaded.fail_allocation(n)
        try:
            found = bits(run())
        except MemoryError:
            found = expected
        except Exception as error:
            print(f"{name}: allocation {n} of {count}: {type(error).__name__}: {error}")
            continue
        finally:
            preloaded.fail_allocation(-1)
        # What needs no memory at all may go on without.
        if found != expected or bits(run()) != expected:
            print(f"{name}: allocation {n} of {count}: a wrong result")
    return count


def leave_out_registration() -> None:
    """Leave out pybind11's ``init_instance``: a noexcept function that allocates ends the process by its own rule."""
    for line in subprocess.check_output(["nm", "-S", "--defined-only", _C.__file__], text=True).splitlines():
        if "init_instance" in line:
            begin, size = (int(number, 16) for number in line.split()[:2])
            preloaded.leave_out(begin, begin + size)


if __name__ == "__main__":
    leave_out_registration()
    if not preloaded.watch_allocations(b"_C."):
        sys.exit("the extension is not among the loaded libraries")
    for threads in (1, 4):
        _C.set_num_threads(threads)
        for name, run in OPERATIONS.items():
            if threads == 1 and "large" in name:
                continue
            allocations = check(name, run)
            if not allocations:
                print(f"{name}: no allocation was counted")
    print("done")
