"""The files that a test.prototxt writes for each image: scores, labels or the CRF's results, and their folders."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from deeplab_caffe import proto
from deeplab_caffe.data.io.mat import blob_mat_name
from deeplab_caffe.experiment.settings import ExperimentError
from deeplab_caffe.layers import ResultKind, layer_traits
from deeplab_caffe.proto import caffe_pb2

# The usual folder of scores in the releases: fc1 for ResNet-101's nets, fc8 for VGG-16's.
_USUAL = ("fc8", "fc1")


@dataclass(frozen=True)
class WrittenBlob:
    """A blob that a MatWrite layer writes: its first bottom, with a file per image.

    Attributes:
        folder: folder of the files, relative to the experiments' folder.
        kind: ``"crf"``: the marginals, or the labels, of a dense CRF inside the net.
    """

    folder: str
    kind: ResultKind

    @property
    def name(self) -> str:
        """Return the folder's name: fc8, fc1, crf."""
        return PurePosixPath(self.folder).name


def test_net(text: str) -> caffe_pb2.NetParameter:
    """Return a filled test.prototxt in phase TEST."""
    return proto.filter_net(proto.parse_net(text), caffe_pb2.TEST)


def written_blobs(net: caffe_pb2.NetParameter) -> list[WrittenBlob]:
    """Return the blobs that a net's MatWrite layers write; the scores that the released scripts look for come first."""
    kinds = _kinds(net)
    found = [
        WrittenBlob(layer.mat_write_param.prefix.rstrip("/"), kinds.get(layer.bottom[0], "scores"))
        for layer in _mat_writers(net)
        if layer.bottom and layer.mat_write_param.prefix.endswith("/")
    ]
    return sorted(found, key=lambda blob: (blob.kind != "scores", blob.name not in _USUAL))


def written_files(net: caffe_pb2.NetParameter, ids: list[str]) -> dict[str, list[str]]:
    """Return the files that MatWrite layers write for each image.

    Raises:
        ExperimentError: the net writes no files, or not a file per image.
    """
    for layer in net.layer:
        if layer.HasField("image_data_param") and layer.image_data_param.batch_size != 1:
            raise ExperimentError(f"layer '{layer.name}': test.prototxt needs batch_size 1, a file for each image")
    layers = _mat_writers(net)
    if not layers:
        raise ExperimentError("test.prototxt has no MAT_WRITE layer: it would leave no scores")
    found: dict[str, list[str]] = {name: [] for name in ids}
    for layer in layers:
        param = layer.mat_write_param
        if param.period != 1 or not param.source:
            raise ExperimentError(f"layer '{layer.name}': expected a list of ids as source, and period 1")
        for name in ids:
            stem = name[: len(name) - param.strip]
            found[name] += [blob_mat_name(f"{param.prefix}{stem}", index) for index in range(len(layer.bottom))]
    return found


def write_scores(text: str, folder: str, source: str) -> str:
    """Add a layer that writes the scores to a filled test.prototxt that writes nothing, such as ResNet-101's.

    Args:
        text: the prototxt.
        folder: folder of the set's features; the scores go to ``fc1`` or ``fc8`` in it, by their blob's name.
        source: list file of the ids.

    Returns:
        The text with a MatWrite layer; unchanged if it is in V1 form, or if it is not clear which blob has the scores.
    """
    net = test_net(text)
    if re.search(r"^\s*layers\s*\{", text, re.MULTILINE) or _mat_writers(net):
        return text
    kinds = _kinds(net)
    answers = [layer.bottom[0] for layer in net.layer if layer_traits(layer).takes_answer and layer.bottom]
    scores = next((blob for blob in answers if kinds.get(blob, "scores") == "scores"), None)
    if scores is None:
        return text
    name = "fc1" if scores.startswith("fc1") else "fc8"
    param = f'mat_write_param {{ prefix: "{folder}/{name}/" source: "{source}" strip: 0 period: 1 }}'
    return f'{text.rstrip()}\n\nlayer {{ name: "{name}_mat" type: "MatWrite" bottom: "{scores}"\n  {param} }}\n'


def _mat_writers(net: caffe_pb2.NetParameter) -> list[caffe_pb2.LayerParameter]:
    return [layer for layer in net.layer if layer_traits(layer).writes_mat]


def _kinds(net: caffe_pb2.NetParameter) -> dict[str, ResultKind]:
    """Return what each blob that a layer makes is; layers that work on it in place change nothing of that."""
    kinds: dict[str, ResultKind] = {}
    for layer in net.layer:
        bottom = kinds.get(layer.bottom[0], "scores") if layer.bottom else "scores"
        kind = layer_traits(layer).result_kind(bottom)
        kinds.update({top: kind for top in layer.top if top not in layer.bottom})
    return kinds
