"""``import caffe`` that finds this package."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from importlib.util import find_spec

from deeplab_caffe.errors import NetError

_PACKAGE = __name__.rpartition(".")[0]


def install_as_caffe(name: str = "caffe") -> None:
    """Make ``import caffe``, ``caffe.io``, ``caffe.proto.caffe_pb2`` etc. find this package's modules from now on.

    For scripts and layers that cannot be changed. Nothing is installed: only this process is affected.

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
    # pycaffe's C++ and Python modules; here one module has the names of both.
    sys.modules[f"{name}._caffe"] = sys.modules[f"{name}.pycaffe"] = package


def install_unless_found(name: str = "caffe") -> None:
    """Call :func:`install_as_caffe` unless another package of this name can be imported."""
    if name not in sys.modules and find_spec(name) is None:
        install_as_caffe(name)
