"""From a NetParameter to the steps that :class:`deeplab_caffe.Net` runs: layers, blob shapes, shared parameters."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from deeplab_caffe.errors import NetError
from deeplab_caffe.layers import Layer, NetContext, Shape, create_layer, layer_class
from deeplab_caffe.layers.convolution import Convolution
from deeplab_caffe.layers.neuron import ReLU
from deeplab_caffe.proto import Dialect, caffe_pb2


@dataclass(frozen=True)
class Step:
    """One layer's place in the net.

    Attributes:
        layer: the layer.
        bottoms: names of the blobs it reads.
        tops: names of the blobs it makes; a name that is also a bottom is overwritten (in-place layers).
        dead: names of the blobs that nobody reads after this step.
        loss_weights: weight of each top in the net's loss.
        relu_follows: the next step is a plain ReLU in place on the top, which the layer may take along.
    """

    layer: Layer
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    dead: tuple[str, ...]
    loss_weights: tuple[float, ...]
    relu_follows: bool = False


def input_shapes(net: caffe_pb2.NetParameter, dialect: Dialect) -> dict[str, Shape]:
    """Return the shapes of the input blobs as the prototxt gives them.

    Raises:
        NetError: too few or too many input_dim, or one that is not positive.
    """
    inputs = list(net.input)
    if len(net.input_shape) != len(inputs):
        raise NetError(f"{len(inputs)} inputs need {4 * len(inputs)} input_dim, got {len(net.input_dim)}")
    shapes = {name: tuple(shape.dim) for name, shape in zip(inputs, net.input_shape, strict=True)}
    for name, shape in shapes.items():
        if min(shape, default=1) < 1:
            raise NetError(f"input '{name}': input_dim must be positive, got {shape}")
        if dialect.four_axes and len(shape) > 4:
            raise NetError(f"input '{name}': shape {shape} has {len(shape)} axes; DeepLab v1's blobs have four")
        if dialect.four_axes:
            shapes[name] = shape + (1,) * (4 - len(shape))
    return shapes


def build_steps(net: caffe_pb2.NetParameter, context: NetContext, blob_shapes: dict[str, Shape]) -> list[Step]:
    """Makes the layers and joins them.

    Args:
        net: filtered, splits inserted; tops that the original adds by itself are added.
        context: what layers know of the net.
        blob_shapes: of the inputs; those of all other blobs are added.

    Raises:
        NetError: a layer is wrong, or does not fit those before it.
    """
    owners: dict[str, tuple[Layer, str]] = {}
    last_use = {blob: i for i, param in enumerate(net.layer) for blob in (*param.bottom, *param.top)}
    used = {blob for param in net.layer for blob in param.bottom}
    owned: set[str] = set()
    learners: set[str] = set()
    steps = []
    for i, param in enumerate(net.layer):
        if not param.top and layer_class(param).AUTO_TOP:
            taken = "(automatic)" in blob_shapes
            param.top.append(f"(automatic) {param.name}" if taken else "(automatic)")
        layer = create_layer(param, context)
        bottom_shapes = [blob_shapes[blob] for blob in param.bottom]
        layer.setup(bottom_shapes)
        if layer.blobs and layer.name in learners:
            raise layer.error("an earlier layer with weights has this name too: caffemodels tell them by name")
        learners |= {layer.name} if layer.blobs else set()
        _check_specs(layer)
        _share_parameters(layer, owners)
        tops = tuple(param.top)
        for k, (blob, shape) in enumerate(zip(tops, layer.top_shapes(bottom_shapes), strict=True)):
            if blob in tops[:k] or (blob in blob_shapes and blob not in param.bottom[k : k + 1]):
                raise layer.error(f"top '{blob}' is made by an earlier layer too")
            blob_shapes[blob] = tuple(shape)
        # Only memory that an earlier layer made for itself may be overwritten: not a caller's, nor a split's.
        layer.inplace = bool(tops) and tops[0] in param.bottom and tops[0] in owned
        if not layer.ALIASES:
            owned |= set(tops)
        dead = tuple(blob for blob in {*param.bottom, *tops} if last_use.get(blob, i) == i and blob in used)
        steps.append(Step(layer, tuple(param.bottom), tops, dead, _loss_weights(layer, tops)))
    return _mark_relus(steps)


def _mark_relus(steps: list[Step]) -> list[Step]:
    """Finds the convolutions with a ReLU right behind them that works in place on their only top."""
    marked = []
    for step, following in zip(steps, [*steps[1:], None], strict=False):
        fits = (
            following is not None
            and isinstance(step.layer, Convolution)
            and isinstance(following.layer, ReLU)
            and len(step.tops) == 1
            and following.bottoms == following.tops == step.tops
            and following.layer.param.relu_param.negative_slope == 0
        )
        if fits:
            following.layer.bottom_is_spare = True
        marked.append(replace(step, relu_follows=fits))
    return marked


def _loss_weights(layer: Layer, tops: tuple[str, ...]) -> tuple[float, ...]:
    given = list(layer.param.loss_weight)
    if len(given) > len(tops):
        raise layer.error(f"{len(given)} loss weights for {len(tops)} tops")
    # A loss's first top weighs 1, its others nothing, unless the prototxt says otherwise.
    weights = given or [layer.DEFAULT_LOSS_WEIGHT]
    return tuple(weights[: len(tops)] + [0.0] * (len(tops) - len(weights)))


def _check_specs(layer: Layer) -> None:
    specs, count = layer.param.param, len(layer.blobs)
    v1 = layer.context.dialect.rates_for_all_blobs
    for field, name in (("lr_mult", "blobs_lr"), ("decay_mult", "weight_decay")):
        if v1 and sum(spec.HasField(field) for spec in specs) not in (0, count):
            raise layer.error(f"{count} parameter blobs need as many {name}, or none")
    if len(specs) > count:
        raise layer.error(f"{len(specs)} {'param names' if v1 else 'param { }'} for {count} parameter blobs")


def _share_parameters(layer: Layer, owners: dict[str, tuple[Layer, str]]) -> None:
    """Lets parameters with the same ``param`` name be one parameter (net.cpp, AppendParam)."""
    names = [name for name, _ in layer.named_parameters(recurse=False)]
    for attribute, spec in zip(names, layer.param.param, strict=False):
        key = spec.name
        if not key:
            continue
        if key not in owners:
            owners[key] = (layer, attribute)
            continue
        owner, owner_attribute = owners[key]
        source, own = getattr(owner, owner_attribute), getattr(layer, attribute)
        permissive = spec.share_mode == spec.PERMISSIVE
        if source.shape != own.shape and not (permissive and source.numel() == own.numel()):
            raise layer.error(
                f"param '{key}' has shape {tuple(own.shape)} here and {tuple(source.shape)} in layer '{owner.name}'"
            )
        if source.shape != own.shape:
            raise layer.error(
                f"param '{key}': sharing one parameter in two shapes, {tuple(own.shape)} here and "
                f"{tuple(source.shape)} in layer '{owner.name}', is not supported"
            )
        setattr(layer, attribute, source)


def output_names(inputs: Iterable[str], steps: Iterable[Step]) -> list[str]:
    """Names of the blobs that no layer reads, in the alphabet's order, as net.cpp has them: a std::set there."""
    steps = list(steps)
    read = {blob for step in steps for blob in step.bottoms if blob not in step.tops}
    made = {*inputs, *(blob for step in steps for blob in step.tops)}
    return sorted(made - read)
