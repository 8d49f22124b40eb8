"""Differences of behaviour between DeepLab v1 and v2, by name.

A net has one :class:`Dialect`, chosen by the caller or by its file's form. ``layers { }`` files are DeepLab v1's;
``layer { }`` files are v2's unless they use a layer or a field that only v1 has. Layers get the dialect in their
context and read its flags, never its name.
"""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.message import Message

from deeplab_caffe.errors import NetError
from deeplab_caffe.proto import caffe_pb2
from deeplab_caffe.proto.schema.inner import FOREIGN_NUMBERS_FROM, OWN_NUMBERS_FROM

# Layer types that DeepLab v2 no longer has.
_V1_TYPES = frozenset(
    {
        "CensorLabel",
        "ChannelAggregator",
        "DominantChannel",
        "GainChannel",
        "Histogram",
        "IgnoreOverlay",
        "OneHot",
        "Padding",
        "RelativeError",
    }
)


@dataclass(frozen=True)
class Dialect:
    """The behaviour of one program.

    Attributes:
        name: ``"v1"`` or ``"v2"``.
        four_axes: blobs and parameters always have four axes: a loss is (1, 1, 1, 1), a bias (1, 1, 1, K).
        two_concat_axes: Concat and Slice support only axes 0 and 1.
        argmax_over_channels: ArgMax without ``axis`` compares the channels of each pixel, not all numbers of an item;
            ``out_max_val`` puts the values after the indices.
        accuracy_per_item: Accuracy compares all numbers of an item, not along ``axis``.
        euclidean_divides_by_count: EuclideanLoss is a mean over all numbers, not over the items.
        contrastive_is_legacy: ContrastiveLoss uses margin - d^2, not (margin - d)^2, for any ``legacy_version``.
        background_is_zero: BiasChannel's PIXEL labels have the background class 0, even if the prototxt sets none.
        mvn_epsilon: number that MVN adds to the standard deviation, unless the prototxt gives one.
        mvn_copies_mean_gradient: MVN without variance passes its gradient unchanged.
        softmax_keeps_ignored_diff: in training, SoftmaxWithLoss does not overwrite the gradient of ignored pixels.
        interp_takes_one_form: Interp takes one of zoom_factor, shrink_factor, height and width; not shrink and zoom.
        param_diffs_add_up: a backward pass adds to the parameters' gradients; else it overwrites them.
        updates_shared_once: a shared parameter is updated once, with the sum of its gradients; else once for each layer
            that uses it.
        data_decodes_in_colour: Data decodes encoded grey images to three equal channels; else to one channel.
        data_reseeds_per_batch: data layers seed a generator for each batch; else one for all.
        snapshots_before_iterations: a solver's snapshots are due before an iteration, so none is at the last one's end.
        pads_in_pairs: a convolution has both pad_h and pad_w, or neither; else one is enough, and the other is 0.
    """

    name: str
    four_axes: bool
    two_concat_axes: bool
    argmax_over_channels: bool
    accuracy_per_item: bool
    euclidean_divides_by_count: bool
    contrastive_is_legacy: bool
    background_is_zero: bool
    mvn_epsilon: float
    mvn_copies_mean_gradient: bool
    softmax_keeps_ignored_diff: bool
    interp_takes_one_form: bool
    param_diffs_add_up: bool
    updates_shared_once: bool
    data_decodes_in_colour: bool
    data_reseeds_per_batch: bool
    snapshots_before_iterations: bool
    pads_in_pairs: bool

    def scalar(self) -> tuple[int, ...]:
        """Return the shape of a loss."""
        return (1, 1, 1, 1) if self.four_axes else ()

    def blob_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape that a parameter has in files and in pycaffe: (O,) is (1, 1, 1, O) with four axes."""
        return (1,) * (4 - len(shape)) + tuple(shape) if self.four_axes else tuple(shape)


V1 = Dialect(
    name="v1",
    four_axes=True,
    two_concat_axes=True,
    argmax_over_channels=True,
    accuracy_per_item=True,
    euclidean_divides_by_count=True,
    contrastive_is_legacy=True,
    background_is_zero=True,
    mvn_epsilon=1e-10,
    mvn_copies_mean_gradient=True,
    softmax_keeps_ignored_diff=True,
    interp_takes_one_form=True,
    param_diffs_add_up=False,
    updates_shared_once=False,
    data_decodes_in_colour=True,
    data_reseeds_per_batch=True,
    snapshots_before_iterations=True,
    pads_in_pairs=True,
)
V2 = Dialect(
    name="v2",
    four_axes=False,
    two_concat_axes=False,
    argmax_over_channels=False,
    accuracy_per_item=False,
    euclidean_divides_by_count=False,
    contrastive_is_legacy=False,
    background_is_zero=False,
    mvn_epsilon=1e-9,
    mvn_copies_mean_gradient=False,
    softmax_keeps_ignored_diff=False,
    interp_takes_one_form=False,
    param_diffs_add_up=True,
    updates_shared_once=True,
    data_decodes_in_colour=False,
    data_reseeds_per_batch=False,
    snapshots_before_iterations=False,
    pads_in_pairs=False,
)
DIALECTS = {dialect.name: dialect for dialect in (V1, V2)}


def dialect_of(net: caffe_pb2.NetParameter, asked: str | None = None) -> Dialect:
    """Return the dialect of a net.

    Args:
        net: a NetParameter.
        asked: ``"v1"`` or ``"v2"``; None: the net's ``dialect``, or else :func:`dialect_of_form`.

    Raises:
        NetError: there is no such dialect.
    """
    name = asked or net.dialect or dialect_of_form(net)
    if name not in DIALECTS:
        raise NetError(f"dialect must be {' or '.join(DIALECTS)}, got {name!r}")
    return DIALECTS[name]


def dialect_of_form(net: caffe_pb2.NetParameter) -> str:
    """Return ``"v1"`` for a net of the V0 or V1 layout or with a part that only DeepLab v1 has, else ``"v2"``."""
    only_v1 = net.layers or any(layer.type in _V1_TYPES or _has_own_field(layer) for layer in net.layer)
    return "v1" if only_v1 else "v2"


def _has_own_field(message: Message) -> bool:
    for field, value in message.ListFields():
        if OWN_NUMBERS_FROM <= field.number < FOREIGN_NUMBERS_FROM:
            return True
        if field.message_type is not None and field.name != "blobs":
            parts = [value] if isinstance(value, Message) else value
            if any(_has_own_field(part) for part in parts):
                return True
    return False
