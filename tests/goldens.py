"""The golden cases: inputs and outputs of the original programs (see ../shared/golden/README.md).

DeepLab v1's cases have their own names, v2's have ``v2/`` before the name. All of them are used if
``../shared/golden`` and ``../shared/golden_v2`` are there; otherwise those in ``tests/golden`` and ``tests/golden_v2``.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "golden"
BUNDLED = ROOT / "tests" / "golden"
SHARED_V2 = ROOT.parent / "shared" / "golden_v2"
BUNDLED_V2 = ROOT / "tests" / "golden_v2"
GOLDEN_ROOTS = [root for root in (SHARED, BUNDLED) if root.is_dir()]
V2 = "v2/"

# The original's scores and gradients: norm of the difference over norm, float32.
RELATIVE_TOLERANCE = 1e-5
# Losses, weights and histories of the training runs.
TRAINING_TOLERANCE = 1e-4
# The original compiled with FMA contraction moves its own CRF marginals by up to 3.1e-6.
CRF_TOLERANCE = 1e-5


@lru_cache
def case_dirs() -> dict[str, Path]:
    """Return the folder of every case that is here, by name."""
    found: dict[str, Path] = {}
    for root, prefix in ((SHARED, ""), (BUNDLED, ""), (SHARED_V2, V2), (BUNDLED_V2, V2)):
        for path in sorted(root.glob("*/case.json")):
            found.setdefault(prefix + path.parent.name, path.parent)
    return found


def case_dir(name: str) -> Path:
    """Return the folder of one case; skip the test if neither place has it."""
    if name not in case_dirs():
        pytest.skip(f"golden case {name} is in ../shared/golden only, which is not beside this checkout")
    return case_dirs()[name]


def load_case(name: str) -> dict:
    return json.loads((case_dir(name) / "case.json").read_text())


def case_names(prefix: str = "") -> list[str]:
    """Return the names of all cases, DeepLab v1's and v2's, that begin so."""
    return [name for name in case_dirs() if name.startswith(prefix)]


def relative_error(actual: np.ndarray, expected: np.ndarray) -> float:
    """Norm of the difference over the norm of what was expected (plain norm where nothing was expected)."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape, f"shape {actual.shape}, expected {expected.shape}"
    scale = np.linalg.norm(expected)
    return float(np.linalg.norm(actual - expected) / (scale if scale > 0 else 1.0))
