"""Every golden case that is to be had: it passes, or it stands in WAITING and really cannot be built yet."""

from __future__ import annotations

from pathlib import Path

import pytest

from deeplab_caffe import NetError
from deeplab_caffe.net import Net
from tests.golden_check import NOTES, OPTIONS, check_case, net_file
from tests.golden_waiting import WAITING
from tests.goldens import BUNDLED, case_dir, case_names, load_case
from tests.replay import inside

RUNNING = [name for name in case_names() if name not in WAITING]


@pytest.mark.parametrize("name", RUNNING)
@pytest.mark.filterwarnings("ignore:.*every label is ignored", "ignore:.*weights of 'unused' are not used")
def test_case(name: str, tmp_path: Path) -> None:
    checks = list(check_case(name, tmp_path))
    assert checks
    failed = [check for check in checks if not check.passed]
    assert not failed, "\n".join(
        f"{check.what}: {check.measure} error {check.error:.3g}, allowed {check.limit:.3g}" for check in failed
    )


@pytest.mark.parametrize("name", [name for name in case_names() if name in WAITING])
def test_waiting_case_says_what_it_waits_for(name: str) -> None:
    folder = case_dir(name)
    case = load_case(name)
    with inside(folder), pytest.raises(NetError, match=rf"layer type {WAITING[name]} is not implemented"):
        Net(net_file(case, folder), phase=case.get("phase", "TRAIN"))


def test_lists_name_real_cases() -> None:
    known = set(case_names())
    if not known > set(WAITING):
        pytest.skip("../shared/golden, which has all cases, is not beside this checkout")
    assert set(OPTIONS) | set(NOTES) | set(WAITING) <= known
    assert not set(WAITING) & (set(OPTIONS) | set(NOTES))


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
