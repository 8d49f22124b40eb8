"""The bar chart of fps.py's results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

# The case that is drawn, where it was measured.
_SIZE = 321


def plot(content: dict[str, Any], path: Path) -> bool:
    """Draw frames per second by network and contender, a panel for each dtype; False if there is nothing to draw.

    Drawn is the largest batch measured at 321 x 321, or at the first size where that was not measured.
    """
    cases = [case for case in content["cases"] if case["rows"]]
    if not cases:
        return False
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    size = _SIZE if any(case["size"] == _SIZE for case in cases) else cases[0]["size"]
    batch = max(case["batch"] for case in cases if case["size"] == size)
    drawn = [case for case in cases if (case["size"], case["batch"]) == (size, batch)]
    dtypes = list(dict.fromkeys(case["dtype"] for case in drawn))
    names = list(dict.fromkeys(name for case in drawn for name in case["rows"]))
    models = list(dict.fromkeys(case["model"] for case in drawn))
    figure, panels = pyplot.subplots(
        1,
        len(dtypes),
        figsize=(1.5 + 3.5 * len(dtypes), 1.5 + 0.9 * len(models)),
        squeeze=False,
        sharey=True,
        layout="constrained",
    )
    for axes, dtype in zip(panels[0], dtypes, strict=True):
        found = {case["model"]: case["rows"] for case in drawn if case["dtype"] == dtype}
        height = 0.8 / len(names)
        for place, name in enumerate(names):
            values = [found.get(model, {}).get(name, {}).get("frames_per_s", 0) for model in models]
            offsets = [row + (place - (len(names) - 1) / 2) * height for row in range(len(models))]
            axes.barh(offsets, values, height, label=name)
        axes.set(
            title=dtype,
            xlabel="frames/s",
            yticks=range(len(models)),
            yticklabels=[Path(model).name for model in models],
        )
    panels[0][0].invert_yaxis()
    panels[0][-1].legend(fontsize="small")
    figure.suptitle(f"{content['device']}, batch {batch}, {size} x {size}")
    figure.savefig(path)
    pyplot.close(figure)
    return True
