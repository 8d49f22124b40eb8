from __future__ import annotations

from pathlib import Path

import pytest

from deeplab_caffe.data.io.windows import ImageWindow, read_window_file
from deeplab_caffe.errors import DataError

TEXT = """# 0
a.jpg
3 40 50
4
7 1.0 0 1 2 3
2 0.5 4 5 6 7
3 0.4 8 9 10 11
9 0.1 12 13 14 15
# 1
b.jpg
3
60
70
1
5 .75 1 1 9 9
"""


def read(folder: Path, text: str, fg: float = 0.5, bg: float = 0.4):
    (folder / "windows.txt").write_text(text)
    return read_window_file(folder / "windows.txt", fg, bg)


def test_windows(tmp_path: Path) -> None:
    found = read(tmp_path, TEXT)
    assert found.channels == 3
    assert found.foreground == [
        ImageWindow("a.jpg", 5, 7, 0, 1, 2, 3),
        ImageWindow("a.jpg", 6, 2, 4, 5, 6, 7),
        ImageWindow("b.jpg", 15, 5, 1, 1, 9, 9),
    ]
    # 0.4 is neither below 0.4 nor above 0.5; background windows have label 0 whatever the file says.
    assert found.background == [ImageWindow("a.jpg", 8, 0, 12, 13, 14, 15)]
    assert len(read(tmp_path, TEXT, bg=0.45).background) == 2


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("# 1\n", "1\n", r"windows\.txt:9: expected '#', got '1'"),
        ("# 1\n", "# 2\n", r"windows\.txt:9: images must be numbered from 0 on, this is number 1"),
        ("3 40 50", "3 forty 50", r"windows\.txt:3: expected height, got 'forty'"),
        ("2 0.5 4", "2 half 4", r"windows\.txt:6: expected an overlap, got 'half'"),
        ("7 1.0 0", "0 1.0 0", r"windows\.txt:5: a foreground window \(overlap 1\.0\) needs a positive class, got 0"),
        ("9 9\n", "9\n", r"windows\.txt:15: the file ends where a box's corner should be"),
    ],
)
def test_malformed(tmp_path: Path, before: str, after: str, message: str) -> None:
    assert before in TEXT
    with pytest.raises(DataError, match=message):
        read(tmp_path, TEXT.replace(before, after))


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"windows\.txt: the window file is empty"):
        read(tmp_path, "\n")
    with pytest.raises(DataError, match="cannot be read"):
        read_window_file(tmp_path / "none", 0.5, 0.5)
