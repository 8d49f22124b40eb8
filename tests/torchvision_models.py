"""torchvision's segmentation networks with random weights, to compare the conversion of DeepLab v3 with."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn


def define_operators() -> None:
    """Define the two operators that torchvision misses when it is imported beside another torch than it was made for.

    Where it fits to torch it defines them itself, and defining them twice would end the process.
    """
    try:
        import torchvision  # noqa: F401
    except ImportError:
        return  # it is not installed, and the tests skip
    except RuntimeError:  # "operator torchvision::nms does not exist"
        for name in ("nms", "qnms"):
            torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


def torchvisions(depth: int, seed: int = 0) -> nn.Module:
    """torchvision's deeplabv3 in eval mode; all numbers are random, BatchNorm's too. Skips the test without it."""
    define_operators()
    try:
        from torchvision.models import segmentation
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"torchvision: {error}")
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        make = getattr(segmentation, f"deeplabv3_resnet{depth}")
        model: nn.Module = make(weights=None, weights_backbone=None, num_classes=21, aux_loss=True).eval()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                for numbers, low, high in (
                    (module.running_mean, -0.3, 0.3),
                    (module.running_var, 0.5, 2.0),
                    (module.weight.data, 0.5, 1.0),
                    (module.bias.data, -0.3, 0.3),
                ):
                    numbers.uniform_(low, high)
    return model


def normalised(images: Tensor) -> Tensor:
    """uint8 RGB (N, H, W, 3) as torchvision's networks take it."""
    mean, std = (torch.tensor(values)[:, None, None] for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    return (images.permute(0, 3, 1, 2).float() / 255 - mean) / std
