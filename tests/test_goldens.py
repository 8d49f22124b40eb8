"""Every golden case that is to be had passes: nets forward and backward, training runs, programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.golden_check import ENVIRONMENT, NOT_IMPLEMENTED, NOTES, OPTIONS, all_checks, missing_for
from tests.goldens import BUNDLED, BUNDLED_V2, SHARED, SHARED_V2, case_names


@pytest.mark.parametrize("name", case_names())
@pytest.mark.filterwarnings("ignore:.*every label is ignored", "ignore::deeplab_caffe.net.tensors.WeightsWarning")
def test_case(name: str, tmp_path: Path) -> None:
    missing = missing_for(name)
    if missing is not None:
        pytest.skip(f"not implemented: {missing}")
    checks = all_checks(name, tmp_path)
    assert checks
    failed = [check for check in checks if not check.passed]
    assert not failed, "\n".join(
        f"{check.what}: {check.measure} error {check.error:.3g}, allowed {check.limit:.3g}" for check in failed
    )


def test_lists_name_real_cases() -> None:
    if not SHARED.is_dir() or not SHARED_V2.is_dir():
        pytest.skip("../shared/golden and ../shared/golden_v2, which have all cases, are not beside this checkout")
    assert set(OPTIONS) | set(ENVIRONMENT) | set(NOTES) | set(NOT_IMPLEMENTED) <= set(case_names())


def test_a_choice_of_cases_comes_with_the_repository() -> None:
    bundled = [path.parent.name for path in BUNDLED.glob("*/case.json")]
    assert len(bundled) > 150
    assert sum(path.stat().st_size for path in BUNDLED.rglob("*") if path.is_file()) <= 5e6
    types = (
        "conv",
        "pool",
        "interp",
        "crf_layer",
        "imageseg",
        "matwrite",
        "segaccuracy",
        "softmaxloss",
        "refine_pascal",
    )
    for prefix in (*types, "pipeline_test", "argmax", "eltwise", "slice", "concat", "solver"):
        assert any(name.startswith(prefix) for name in bundled), prefix


def test_a_choice_of_v2s_cases_comes_with_the_repository() -> None:
    bundled = [path.parent.name for path in BUNDLED_V2.glob("*/case.json")]
    assert len(bundled) > 150
    assert sum(path.stat().st_size for path in BUNDLED_V2.rglob("*") if path.is_file()) <= 6e6
    assert not any(missing_for(f"v2/{name}") for name in bundled)
    layers = ("conv_dil", "pool", "interp", "crf", "imageseg", "softmaxloss", "argmax")
    for prefix in (*layers, "solver", "caffemodel", "upgrade"):
        assert any(name.startswith(prefix) for name in bundled), prefix
