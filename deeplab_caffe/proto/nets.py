"""The layers that a net has in a given state: Caffe's ``include`` and ``exclude`` rules."""

from __future__ import annotations

from collections.abc import Iterable
from reprlib import repr as short_repr

from deeplab_caffe.arguments import whole_number
from deeplab_caffe.errors import NetError
from deeplab_caffe.proto import caffe_pb2
from deeplab_caffe.proto.upgrade.net import fold_inputs, upgrade_net


def resolve_state(
    net: caffe_pb2.NetParameter, phase: int | str | None = None, level: int | None = None, stages: Iterable[str] = ()
) -> caffe_pb2.NetState:
    """Return the NetState for filtering a net.

    Values in the net's own ``state`` take precedence (a prototxt may fix its phase, as in the original, net.cpp); the
    arguments set the others. Stages are added to the net's.

    Args:
        net: a NetParameter.
        phase: ``caffe_pb2.TRAIN`` or ``caffe_pb2.TEST``, or their names; None means TEST, NetState's default.
        level: default 0.
        stages: names of stages.

    Raises:
        NetError: ``phase`` is neither TRAIN nor TEST, the level is no whole number, or a stage is no text.
    """
    level = whole_number("level", 0 if level is None else level, NetError, least=-(2**31), most=2**31 - 1)
    state = caffe_pb2.NetState()
    state.CopyFrom(net.state)
    if not state.HasField("phase"):
        state.phase = _phase_number(phase)
    if not state.HasField("level"):
        state.level = level
    for stage in _stage_names(stages):
        if stage not in state.stage:
            state.stage.append(stage)
    return state


def _stage_names(stages: Iterable[str]) -> list[str]:
    names = [stages] if isinstance(stages, str) or not isinstance(stages, Iterable) else list(stages)
    for name in names:
        if not isinstance(name, str):
            raise NetError(f"stages must be names, each a text, got {short_repr(name)}")
    return names


def _phase_number(phase: int | str | None) -> int:
    if phase is None:
        return caffe_pb2.TEST
    names = caffe_pb2.Phase.keys()
    if isinstance(phase, str) and phase.upper() in names:
        return caffe_pb2.Phase.Value(phase.upper())
    if not isinstance(phase, str) and phase in caffe_pb2.Phase.values():
        return int(phase)
    raise NetError(f"phase must be one of {', '.join(names)} (0 or 1), not {phase!r}")


def state_meets_rule(state: caffe_pb2.NetState, rule: caffe_pb2.NetStateRule) -> bool:
    """Return whether a NetState meets a NetStateRule: all that the rule sets must hold (Caffe's StateMeetsRule)."""
    if rule.HasField("phase") and rule.phase != state.phase:
        return False
    if rule.HasField("min_level") and state.level < rule.min_level:
        return False
    if rule.HasField("max_level") and state.level > rule.max_level:
        return False
    stages = set(state.stage)
    return all(stage in stages for stage in rule.stage) and not any(stage in stages for stage in rule.not_stage)


def layer_is_included(layer: caffe_pb2.LayerParameter, state: caffe_pb2.NetState) -> bool:
    """Return whether a layer is part of a net in this state.

    With ``include`` rules, the layer is part of the net if any of them is met; otherwise, unless an ``exclude`` rule is
    met. A ``phase`` of the layer's own decides nothing here: the layer runs in that phase (net.cpp, FilterNet).

    Raises:
        NetError: the layer has both ``include`` and ``exclude`` rules.
    """
    if layer.include and layer.exclude:
        raise NetError("has both include and exclude rules; give one kind or the other", layer=layer.name)
    if layer.include:
        return any(state_meets_rule(state, rule) for rule in layer.include)
    return not any(state_meets_rule(state, rule) for rule in layer.exclude)


def filter_net(
    net: caffe_pb2.NetParameter, phase: int | str | None = None, level: int | None = None, stages: Iterable[str] = ()
) -> caffe_pb2.NetParameter:
    """Return ``net`` in the inner form, with only the layers of its state; Input layers become net inputs.

    Args:
        net: a NetParameter of any layout; not changed.
        phase: ``caffe_pb2.TRAIN``/``TEST`` or ``"TRAIN"``/``"TEST"``; used if the net's own ``state`` has no phase.
        level: used if the net's own ``state`` has no level; default 0.
        stages: added to those of the net's own ``state``.

    Returns:
        A NetParameter whose ``state`` is the resolved one: ``filtered.state.phase`` is the phase it runs in.

    Raises:
        NetError: ``phase`` is neither TRAIN nor TEST.
        PrototxtError: the net is inconsistent: an older layout cannot be upgraded, or a layer has both ``include`` and
            ``exclude``.
    """
    state = resolve_state(net, phase, level, stages)
    filtered = upgrade_net(net)
    layers = [layer for layer in filtered.layer if layer_is_included(layer, state)]
    if len(layers) != len(filtered.layer):
        kept = caffe_pb2.NetParameter(layer=layers)
        filtered.ClearField("layer")
        filtered.layer.extend(kept.layer)
    fold_inputs(filtered)
    filtered.state.CopyFrom(state)
    return filtered
