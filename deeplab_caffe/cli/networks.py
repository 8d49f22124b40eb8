"""The options that choose a verb's network."""

from __future__ import annotations

from pathlib import Path

import click

from deeplab_caffe.cli.options import MODEL_HELP
from deeplab_caffe.zoo.default import DEFAULT_MODEL, EMBEDDED_MODELS, EmbeddedModel

NETWORK_HELP = f"{MODEL_HELP} Or one of the package's: {' or '.join(EMBEDDED_MODELS)}. By default the first."


def chosen_network(model: Path | None, weights: Path | None) -> tuple[Path, Path, EmbeddedModel | None]:
    """Return the prototxt and weights of ``--model`` and ``--weights``, and the network of the package, or None.

    Without ``--model`` it is the package's default network; ``--model`` may name another one. None stands for the
    user's own network.

    Raises:
        click.UsageError: only one of the user's model and weights is given.
    """
    embedded = DEFAULT_MODEL if model is None else EMBEDDED_MODELS.get(str(model))
    if embedded is None and model is not None and weights is not None:
        return model, weights, None
    if embedded is None or weights is not None:
        raise click.UsageError("--model and --weights go together: give both, or none for the built-in network")
    return embedded.deploy, embedded.weights, embedded
