"""Which network a verb works with."""

from __future__ import annotations

from pathlib import Path

import click

from deeplab_caffe.cli.options import MODEL_HELP
from deeplab_caffe.zoo.default import DEFAULT_MODEL, EMBEDDED_MODELS, EmbeddedModel

NETWORK_HELP = (
    f"{MODEL_HELP} Or one that comes with the package: {' or '.join(EMBEDDED_MODELS)}; without it, the first."
)


def chosen_network(model: Path | None, weights: Path | None) -> tuple[Path, Path, EmbeddedModel | None]:
    """Return the prototxt and the weights of ``--model`` and ``--weights``, and which network of the package it is.

    Without ``--model`` it is the default one; ``--model`` may name another. None: it is the user's own.

    Raises:
        click.UsageError: weights without a model of the user's, or the other way round.
    """
    embedded = DEFAULT_MODEL if model is None else EMBEDDED_MODELS.get(str(model))
    if embedded is None and model is not None and weights is not None:
        return model, weights, None
    if embedded is None or weights is not None:
        raise click.UsageError("--model and --weights go together: give both, or none for the built-in network")
    return embedded.deploy, embedded.weights, embedded
