from __future__ import annotations

import pytest

from tools import fps_table

CONTENT = {
    "device": "Some GPU",
    "cpu": "Some CPU",
    "threads": 2,
    "cases": [
        {
            "model": "deeplab_largefov",
            "size": 321,
            "dtype": "bfloat16",
            "batch": 32,
            "rows": {
                "ours": {"frames_per_s": 4321.25, "share_of_matrix_peak": 0.512},
                "ours, precision fast": {"frames_per_s": 5000.0},
                "plain": {"frames_per_s": 2.004},
                "compiled": {"failed": "no compiler"},
            },
        },
        {"model": "deeplab", "size": 321, "dtype": "bfloat16", "batch": 32, "rows": {"ours": {}}},
        {"model": "deeplab_largefov", "size": 513, "dtype": "bfloat16", "batch": 32, "rows": {"ours": {}}},
    ],
}


def test_the_table_by_hand() -> None:
    lines = fps_table.table([CONTENT, {**CONTENT, "device": "Some CPU"}]).splitlines()
    assert lines[2:] == [
        "| Some GPU | bfloat16 | 32 | 4,321.2 | 5,000.0 | - | 2.00 | - | 51% |",
        "| Some CPU, 2 threads | bfloat16 | 32 | 4,321.2 | 5,000.0 | - | 2.00 | - | 51% |",
    ]
    assert lines[1].count("|") == lines[0].count("|")


def test_only_what_stands_between_the_marks_changes() -> None:
    readme = f"head\n{fps_table.BEGIN}old\n{fps_table.END}tail\n"
    new = fps_table.updated(readme, "new\n")
    assert new == f"head\n{fps_table.BEGIN}\nnew\n\n{fps_table.END}tail\n"
    assert fps_table.updated(new, "new\n") == new
    with pytest.raises(SystemExit, match=r"README.md lacks the lines"):
        fps_table.updated("nothing", "new\n")


def test_the_readme_has_what_the_results_say() -> None:
    fps_table.main(["--check"])
