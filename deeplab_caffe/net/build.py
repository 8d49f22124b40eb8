"""Build the graph that :class:`deeplab_caffe.Net` runs from a NetParameter: layers, shapes, shared parameters."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from deeplab_caffe.errors import MOST_LISTED, NetError, listed
from deeplab_caffe.layers import LAYERS, Layer, NetContext, Shape, create_layer, layer_class, layer_traits
from deeplab_caffe.net.graph import Graph, Step
from deeplab_caffe.net.passes import mark_dead, mark_inplace
from deeplab_caffe.proto import Dialect, LayerLines, caffe_pb2

# The name, or its beginning, of a top that the prototxt does not name.
AUTOMATIC_TOP = "(automatic)"


def input_shapes(net: caffe_pb2.NetParameter, dialect: Dialect) -> dict[str, Shape]:
    """Return the shapes of the input blobs as the prototxt gives them.

    Raises:
        NetError: there are too few or too many input_dim, or one is not positive.
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


def build_graph(net: caffe_pb2.NetParameter, context: NetContext, blob_shapes: dict[str, Shape]) -> Graph:
    """Make the layers and connect them.

    Args:
        net: the net, filtered and with splits inserted; tops that the original adds automatically are added to it.
        context: what layers know of the net.
        blob_shapes: the shapes of the inputs; the shapes of all other blobs are added.

    Raises:
        NetError: a layer is wrong or does not fit the layers before it; one error names all such layers.
    """
    inputs = dict(blob_shapes)
    if any(param.type not in LAYERS for param in net.layer):
        raise _refusal(net, context, inputs)
    try:
        return _build_graph(net, context, blob_shapes)
    except NetError as error:
        refusal = _refusal(net, context, inputs, error)
        if refusal is error:
            raise
        raise refusal from error


def _refusal(
    net: caffe_pb2.NetParameter, context: NetContext, shapes: dict[str, Shape], first: NetError | None = None
) -> NetError:
    """Return one error for all layers that are refused, ``first`` before the others.

    The other layers are built on the meta device, so that their parameters take no memory. Layers behind a refused one
    are created too, but their shapes are checked only if the shapes of their bottoms are known. Layers that read or
    write files are skipped.
    """
    found = [] if first is None else [first]
    with torch.device("meta"):
        for param in net.layer:
            if layer_traits(param).is_source or layer_traits(param).writes_files:
                continue
            try:
                _name_top(param, shapes)
                layer = create_layer(param, context)
                if all(blob in shapes for blob in param.bottom):
                    bottom_shapes = [shapes[blob] for blob in param.bottom]
                    layer.setup(bottom_shapes)
                    shapes.update(zip(param.top, map(tuple, layer.top_shapes(bottom_shapes)), strict=False))
            except NetError as error:
                # Not an error of the layer: its filler failed only because the meta device has no memory to fill.
                if not isinstance(error.__context__, RuntimeError) and (first is None or str(error) != str(first)):
                    found.append(error)
            except Exception:
                # A user's own layer may raise anything; report the errors found before.
                continue
    return found[0] if len(found) == 1 else _together(found)


def _together(found: Sequence[NetError], lines: LayerLines | None = None) -> NetError:
    """Return one error that names the layers of several errors, and their lines if they are known."""
    layers: dict[str, list[str]] = {}
    for one in found:
        line = lines.of(one.layer or "") if lines else None
        layers.setdefault(one.reason, []).append(f"'{one.layer}'" + (f" in line {line}" if line else ""))
    reasons = [f"{reason} ({listed(names[:3], len(names), ', ')})" for reason, names in layers.items()]
    message = f"{len(found)} layers are refused: {listed(reasons[:MOST_LISTED], len(reasons))}"
    layer = found[0].layer
    place = (lines.path, lines.of(layer or "")) if lines else (None, None)
    return NetError(message, layer, path=place[0], line=place[1], parts=found)


def with_lines(error: NetError, lines: LayerLines) -> NetError:
    """Return an error with the prototxt's path and the layers' lines; unchanged if the file has no such layer."""
    line = None if error.layer is None or error.path is not None else lines.of(error.layer)
    if line is None:
        return error
    return (
        _together(error.parts, lines)
        if error.parts
        else NetError(error.reason, error.layer, path=lines.path, line=line)
    )


def _build_graph(net: caffe_pb2.NetParameter, context: NetContext, blob_shapes: dict[str, Shape]) -> Graph:
    owners: dict[str, _Owner] = {}
    learners: set[str] = set()
    current = {name: number for number, name in enumerate(net.input)}
    inputs, count = dict(current), len(current)
    steps = []
    for param in net.layer:
        _name_top(param, blob_shapes)
        layer = create_layer(param, context)
        bottom_shapes = [blob_shapes[blob] for blob in param.bottom]
        layer.setup(bottom_shapes)
        unnamed = [name for name, _ in layer.named_parameters(recurse=False) if name not in layer.roles]
        if unnamed:
            raise layer.error(f"{type(layer).__name__}.roles must name its parameters {', '.join(unnamed)}")
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
        reads = tuple(current[blob] for blob in param.bottom)
        makes = tuple(range(count, count + len(tops)))
        count += len(tops)
        current.update(zip(tops, makes, strict=True))
        steps.append(Step(layer, tuple(param.bottom), tops, _loss_weights(layer, tops), reads, makes))
    outputs = {name: current[name] for name in output_names(inputs, steps)}
    graph = mark_dead(Graph(tuple(steps), inputs, outputs, current))
    mark_inplace(graph)
    return graph


def _name_top(param: caffe_pb2.LayerParameter, blobs: Container[str]) -> None:
    """Add the automatic top of a layer such as a loss if the prototxt names no top (net.cpp, Init)."""
    if not param.top and layer_class(param).auto_top:
        param.top.append(f"{AUTOMATIC_TOP} {param.name}" if AUTOMATIC_TOP in blobs else AUTOMATIC_TOP)


def _loss_weights(layer: Layer, tops: tuple[str, ...]) -> tuple[float, ...]:
    given = list(layer.param.loss_weight)
    if len(given) > len(tops):
        raise layer.error(f"{len(given)} loss weights for {len(tops)} tops")
    # By default a loss's first top has weight 1 and its other tops have weight 0.
    weights = given or [layer.default_loss_weight]
    return tuple(weights[: len(tops)] + [0.0] * (len(tops) - len(weights)))


def _check_specs(layer: Layer) -> None:
    # Parameter blobs without a param { } have factors of 1, also in the V1 layout, which BVLC's Caffe upgrades.
    given, count = len(layer.param.param), len(layer.blobs)
    if given > count:
        raise layer.error(
            f"{given} param {{ }} for {count} parameter blobs (in the V1 layout: blobs_lr, weight_decay or param names)"
        )


@dataclass
class _Owner:
    """The first layer that has a parameter of a given name.

    Attributes:
        layer: the layer.
        role: the parameter's role in the layer.
        factors: for ``lr_mult`` and ``decay_mult``: the value, and the name of the first layer that gives it.
    """

    layer: Layer
    role: str
    factors: dict[str, tuple[float, str]] = field(default_factory=dict)


def _share_parameters(layer: Layer, owners: dict[str, _Owner]) -> None:
    """Make parameters with the same ``param`` name one parameter (net.cpp, AppendParam).

    In DeepLab v2 a shared parameter has one learning rate, which layers may give or leave out; in v1 each layer that
    uses it has its own.
    """
    shapes: list[tuple[str, Shape]] = []
    for (role, own), spec in zip(layer.named_blobs.items(), layer.param.param, strict=False):
        if not spec.name:
            continue
        owner = owners.setdefault(spec.name, _Owner(layer, role))
        if layer.context.dialect.updates_shared_once:
            _check_factors(layer, spec, owner)
        source = getattr(owner.layer, owner.role)
        if source is own:
            continue
        permissive = spec.share_mode == spec.PERMISSIVE
        if source.shape != own.shape and not (permissive and source.numel() == own.numel()):
            raise layer.error(
                f"param '{spec.name}' has shape {tuple(own.shape)} here and {tuple(source.shape)} in layer "
                f"'{owner.layer.name}'"
            )
        setattr(layer, role, owner.layer._parameters[owner.role])
        if source.shape != own.shape:
            shapes.append((role, tuple(own.shape)))
    if shapes:
        layer.__class__ = _reshaped_class(type(layer), tuple(shapes))


def _check_factors(layer: Layer, spec: caffe_pb2.ParamSpec, owner: _Owner) -> None:
    for name in ("lr_mult", "decay_mult"):
        if not spec.HasField(name):
            continue
        value = getattr(spec, name)
        first, where = owner.factors.setdefault(name, (value, layer.name))
        if value != first:
            raise layer.error(
                f"param '{spec.name}': {name} is {value:g} here and {first:g} in layer '{where}', which shares it"
            )


def _reshaped_class(cls: type[Layer], shapes: tuple[tuple[str, Shape], ...]) -> type[Layer]:
    """Return a subclass whose layers view some shared parameters, by role, in the given shapes."""

    def view(layer: Layer, role: str, shape: Shape) -> Tensor:
        parameter = layer._parameters[role]
        assert parameter is not None
        return parameter.view(shape)

    def reduce(layer: Layer, _: object) -> tuple[object, ...]:
        return _new_reshaped, (cls, shapes), layer.__dict__

    views = {role: property(partial(view, role=role, shape=shape)) for role, shape in shapes}
    return type(cls.__name__, (cls,), {**views, "__reduce_ex__": reduce})


def _new_reshaped(cls: type[Layer], shapes: tuple[tuple[str, Shape], ...]) -> Layer:
    reshaped = _reshaped_class(cls, shapes)
    return reshaped.__new__(reshaped)


def output_names(inputs: Iterable[str], steps: Iterable[Step]) -> list[str]:
    """Return the blobs that no layer reads, in alphabetical order, as in net.cpp, which keeps them in a std::set."""
    steps = list(steps)
    read = {blob for step in steps for blob in step.bottoms if blob not in step.tops}
    made = {*inputs, *(blob for step in steps for blob in step.tops)}
    return sorted(made - read)
