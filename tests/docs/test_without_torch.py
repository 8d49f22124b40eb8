"""docs/questions.md: the answers that it says need no torch."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from PIL import Image

from tests.docs.pages import ROOT

TEXT = (ROOT / "docs" / "questions.md").read_text(encoding="utf-8")
NO_TORCH = "import sys\nsys.modules['torch'] = sys.modules['scipy'] = None\n"


def test_answers_of_the_crf_need_no_torch(tmp_path: Path) -> None:
    said = re.search(r"([\d, ]+) and (\d+) need no torch", TEXT)
    assert said is not None
    numbers = re.findall(r"\d+", said[0])
    answers = dict(re.findall(r"^## (\d+)\.(.*?)(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE))
    code = [block for number in numbers for block in re.findall(r"```python\n(.*?)```", answers[number], re.DOTALL)]
    assert len(code) == len(numbers) == 4
    Image.new("RGB", (32, 24), (90, 120, 30)).save(tmp_path / "photo.jpg")
    Image.new("L", (32, 24), 255).save(tmp_path / "mask.png")
    program = NO_TORCH + f"sys.path.insert(0, {str(ROOT)!r})\n" + "\n".join(code)
    found = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
