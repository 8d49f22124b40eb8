"""The models of the papers: descriptions, published results, and the URLs of their files.

The authors' hosts may be gone, and no checksum of their files was ever published: see
:mod:`deeplab_caffe.zoo.download`.
"""

from __future__ import annotations

import difflib

from deeplab_caffe.crf.presets import plain_name
from deeplab_caffe.errors import DeepLabCaffeError
from deeplab_caffe.zoo.model import Model, RemoteFile, Score
from deeplab_caffe.zoo.models_later import LATER_INIT_WEIGHTS, LATER_MODELS
from deeplab_caffe.zoo.models_own import OWN_MODELS
from deeplab_caffe.zoo.models_v1 import V1_INIT_WEIGHTS, V1_MODELS

__all__ = ["INIT_WEIGHTS", "MODELS", "OWN_MODELS", "Model", "RemoteFile", "Score", "find_model"]

MODELS = (*V1_MODELS, *LATER_MODELS)
INIT_WEIGHTS = (*V1_INIT_WEIGHTS, *LATER_INIT_WEIGHTS)


def find_model(name: str) -> Model:
    """Return the model of that name, title or NET_ID, one of the papers' or ours; case, "-" and "_" do not matter.

    Raises:
        DeepLabCaffeError: no model has this name; the message has similar names.
    """
    known: dict[str, Model] = {}
    everything = (*MODELS, *OWN_MODELS, *INIT_WEIGHTS)
    for model in everything:
        for alias in (model.name, model.title, model.net_id):
            if alias is not None:
                known.setdefault(plain_name(alias), model)
    if plain_name(name) in known:
        return known[plain_name(name)]
    near = difflib.get_close_matches(plain_name(name), known, n=3, cutoff=0.5)
    names = dict.fromkeys(known[alias].name for alias in near) or [model.name for model in everything]
    raise DeepLabCaffeError(f"no model {name!r} is known; there is {', '.join(names)}")
