"""Explain errors of a model that is a training file where a deploy prototxt was expected."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import PathLike, fspath
from typing import Any

from deeplab_caffe.errors import CaffeModelError, ConversionError, DeepLabCaffeError, NetError
from deeplab_caffe.layers import layer_traits
from deeplab_caffe.proto import has_inputs, parse_net
from deeplab_caffe.proto.text.parse import read_text
from deeplab_caffe.proto.text.templates import template_variables


@contextmanager
def deploy_wanted(model: Any, variables: Mapping[str, str] | None = None) -> Iterator[None]:
    """Within the block, turn errors into one that says that ``model`` is a training file, if it is.

    Args:
        model: path of a prototxt; other values are ignored.
        variables: values for ``${NAME}`` in it.

    Raises:
        NetError: the block failed, and the file has data layers and no input.
    """
    try:
        yield
    except (CaffeModelError, ConversionError):
        # The weights are wrong, not the prototxt.
        raise
    except DeepLabCaffeError as error:
        if isinstance(model, (str, PathLike)) and _is_training_file(model, variables or {}):
            raise NetError(
                f"{fspath(model)}: this is a training file, its data comes from lists or databases: expected a "
                f"deploy.prototxt, with input and input_dim ({error})"
            ) from error
        raise


def _is_training_file(path: str | PathLike[str], variables: Mapping[str, str]) -> bool:
    try:
        text = read_text(path)
        # The variables' values do not matter for this question.
        net = parse_net(text, path, {**dict.fromkeys(template_variables(text), "1"), **variables})
    except DeepLabCaffeError:
        return False
    return not has_inputs(net) and any(layer_traits(layer).is_source for layer in net.layer)
