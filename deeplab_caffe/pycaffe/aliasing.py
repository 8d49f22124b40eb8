"""``import caffe`` that finds this package."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from importlib.util import find_spec

from deeplab_caffe.errors import NetError

_PACKAGE = __name__.rpartition(".")[0]


def install_as_caffe(name: str = "caffe") -> None:
    """Have ``import caffe``, ``caffe.io``, ``caffe.proto.caffe_pb2`` and so on find this package's modules from now on.

    For scripts and layers that cannot be changed. Nothing is installed: it holds for this process.

    Raises:
        NetError: another package of this name has been imported.
    """
    package = importlib.import_module(_PACKAGE)
    if sys.modules.get(name, package) is not package:
        where = getattr(sys.modules[name], "__file__", None)
        raise NetError(f"'{name}' is imported already, from {where}: call install_as_caffe() before")
    for each in pkgutil.walk_packages(package.__path__, f"{_PACKAGE}."):
        importlib.import_module(each.name)
    for full, module in list(sys.modules.items()):
        if full == _PACKAGE or full.startswith(f"{_PACKAGE}."):
            sys.modules[name + full.removeprefix(_PACKAGE)] = module
    # Real pycaffe's two halves, whose names are all in one place here.
    sys.modules[f"{name}._caffe"] = sys.modules[f"{name}.pycaffe"] = package


def install_unless_found(name: str = "caffe") -> None:
    """Call :func:`install_as_caffe` where no other package of this name can be imported."""
    if name not in sys.modules and find_spec(name) is None:
        install_as_caffe(name)
