"""Find the files that a solver and its nets name: from the working directory, as Caffe does, or else beside the solver.

So a solver can be used from any folder, even if its author ran it in the solver's folder.
"""

from __future__ import annotations

from pathlib import Path

from google.protobuf.message import Message

from deeplab_caffe.files.names import exists, is_folder
from deeplab_caffe.proto import caffe_pb2

# Fields of a layer's parameters that name files or folders to read.
_READ = ("source", "mean_file", "root_folder")


def found(name: str, folder: Path) -> str:
    """Return ``name`` if it exists, else the file of that name in ``folder``; ``name`` if neither exists."""
    beside = folder / name
    if not name or Path(name).is_absolute() or exists(name) or not exists(beside):
        return name
    # Keep the slash: the data layers append image names to a root folder without adding one.
    return f"{beside}/" if name.endswith("/") else str(beside)


def _net(name: str, folder: Path) -> str:
    """Return :func:`found`, with a fallback for ``<EXP>/config/<NET_ID>/train_<set>.prototxt``.

    run_pascal.sh writes such a file from a template. If it does not exist, use the template: ``train.prototxt`` beside
    the solver.
    """
    there, path, template = found(name, folder), Path(name), folder / "train.prototxt"
    filled = path.parent.parent.name == "config" and path.name.startswith("train_")
    return str(template) if filled and not exists(there) and exists(template) else there


def find_nets(param: caffe_pb2.SolverParameter, folder: Path) -> None:
    """Replace nets and weights by those beside the solver, and snapshot_prefix if only its folder there exists."""
    for field in ("net", "train_net"):
        if param.HasField(field):
            setattr(param, field, _net(getattr(param, field), folder))
    param.test_net[:] = [found(name, folder) for name in param.test_net]
    param.weights[:] = [found(name, folder) for name in param.weights]
    prefix = Path(param.snapshot_prefix)
    if not exists(prefix.parent) and is_folder(folder / prefix.parent):
        param.snapshot_prefix = str(folder / prefix)


def find_data(net: caffe_pb2.NetParameter, folder: Path) -> None:
    """Replace the lists, databases and means of a net's layers by those beside the solver."""
    for layer in net.layer:
        for _, value in layer.ListFields():
            if not isinstance(value, Message):
                continue
            for name in _READ:
                if name in value.DESCRIPTOR.fields_by_name and value.HasField(name):
                    setattr(value, name, found(getattr(value, name), folder))
