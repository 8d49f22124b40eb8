from __future__ import annotations

from deeplab_caffe.zoo.paths import BASES, NETWORKS

# The recipes of the first two papers; those after them are in test_later_networks.py.
FIRST_BASES = {name: base for name, base in BASES.items() if base in NETWORKS}
