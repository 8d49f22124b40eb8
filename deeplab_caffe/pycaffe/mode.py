"""Caffe's process-wide settings: CPU or GPU, which GPU, the random seed, the phase."""

from __future__ import annotations

import torch

from deeplab_caffe.errors import NetError
from deeplab_caffe.proto import caffe_pb2

_device = torch.device("cpu")
_gpu_index = 0
_seed: int | None = None
_phase: int = caffe_pb2.TEST


def set_mode_cpu() -> None:
    """Make networks compute on the CPU from now on."""
    global _device
    _device = torch.device("cpu")


def set_mode_gpu() -> None:
    """Make networks compute on the GPU chosen by :func:`set_device` from now on.

    Raises:
        NetError: there is no such GPU.
    """
    global _device
    if not torch.cuda.is_available():
        raise NetError("set_mode_gpu: torch sees no CUDA device on this machine")
    if _gpu_index >= torch.cuda.device_count():
        raise NetError(f"set_mode_gpu: there are {torch.cuda.device_count()} GPUs, device {_gpu_index} was asked for")
    _device = torch.device("cuda", _gpu_index)


def set_device(index: int) -> None:
    """Choose the GPU for :func:`set_mode_gpu`; if a GPU is in use already, the change takes effect at once.

    Raises:
        NetError: the index is negative, or there is no such GPU.
    """
    global _gpu_index
    if index < 0:
        raise NetError(f"set_device: expected an index from 0, got {index}")
    _gpu_index = int(index)
    if _device.type == "cuda":
        set_mode_gpu()


def set_random_seed(seed: int) -> None:
    """Seed the random numbers of networks built from now on, and torch's."""
    global _seed
    _seed = int(seed) % 2**32
    torch.manual_seed(_seed)


def set_phase_train() -> None:
    """Set the phase of networks built without one, existing ones included, to TRAIN."""
    global _phase
    _phase = caffe_pb2.TRAIN


def set_phase_test() -> None:
    """Set the phase of networks built without one, existing ones included, to TEST."""
    global _phase
    _phase = caffe_pb2.TEST


def current_phase() -> int:
    """Return the phase of networks that were built without one."""
    return _phase


def current_device() -> torch.device:
    """Return the device that networks compute on."""
    return _device


def current_seed() -> int | None:
    """Return the seed that :func:`set_random_seed` set last, or None."""
    return _seed
