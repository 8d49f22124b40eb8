"""Writes reference.npz: what pydensecrf computes. Needs numpy and pydensecrf alone.

    python -m venv /tmp/pydensecrf && /tmp/pydensecrf/bin/pip install 'cython<3' setuptools wheel numpy
    # the sdist of pydensecrf 1.0rc3 without its outdated densecrf.cpp and eigen.cpp, then
    /tmp/pydensecrf/bin/pip install --no-build-isolation ./pydensecrf-1.0rc3
    /tmp/pydensecrf/bin/python tests/pydensecrf/make_reference.py

tests/pydensecrf/test_densecrf.py runs cases.py once more with our classes, and compares.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydensecrf.densecrf as dcrf
import pydensecrf.utils as utils
from cases import cases

results = {name: np.array(value) for name, value in cases(dcrf, utils)}
path = Path(__file__).with_name("reference.npz")
np.savez_compressed(path, **results)
print(f"{path}: {len(results)} results, {path.stat().st_size} bytes")
