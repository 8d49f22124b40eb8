"""A golden case of one layer, as an operation's test wants it: its parameters and its blobs, without building a net."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np

from tests.goldens import case_dir, load_case


@dataclass
class GoldenOp:
    """Blobs by name; parameters by index; what the original computed under `expected_...`."""

    parameters: dict[str, list[str]] = field(default_factory=dict)
    data: dict[str, np.ndarray] = field(default_factory=dict)
    diff: dict[str, np.ndarray] = field(default_factory=dict)
    params: dict[int, np.ndarray] = field(default_factory=dict)
    expected_data: dict[str, np.ndarray] = field(default_factory=dict)
    expected_diff: dict[str, np.ndarray] = field(default_factory=dict)
    expected_param_diff: dict[int, np.ndarray] = field(default_factory=dict)

    def pair(self, name: str, default: int) -> tuple[int, int]:
        """A parameter that Caffe takes as `pad` or as `pad_h` and `pad_w`."""
        both = self.parameters.get(name, self.parameters.get(f"{name}_size"))
        if both:
            return int(both[0]), int(both[0])
        height, width = (self.parameters.get(f"{name}_{axis}", [str(default)])[0] for axis in "hw")
        return int(height), int(width)


def golden_op(name: str) -> GoldenOp:
    folder, case = case_dir(name), load_case(name)
    golden = GoldenOp()
    layer = (folder / "net.prototxt").read_text().split("layers {", 1)[1]
    for key, value in re.findall(r"(\w+): (\S+)", layer):
        golden.parameters.setdefault(key, []).append(value)
    targets = {
        "set_data": golden.data,
        "set_diff": golden.diff,
        "set_param": golden.params,
        "get_data": golden.expected_data,
        "get_diff": golden.expected_diff,
        "get_param_diff": golden.expected_param_diff,
    }
    for step in case["steps"]:
        if step["op"] in targets:
            key = step["index"] if "index" in step else step["blob"]
            targets[step["op"]][key] = np.load(folder / step["file"])
    return golden
