"""``deeplab-caffe info``: the facts of the machine that a bug report needs."""

from __future__ import annotations

import json
from typing import Any

import click

from deeplab_caffe.environment import describe
from deeplab_caffe.errors import one_line


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def info(as_json: bool) -> None:
    """Show versions, processor, memory, GPUs, the extension's build, and which extras are installed.

    Put this into a bug report. It works without torch and without the extension.
    """
    found = describe()
    if as_json:
        click.echo(json.dumps(found, indent=1))
        return
    for name, fact in _lines(found):
        click.echo(one_line(f"{name:16}{fact}"))


def _lines(found: dict[str, Any]) -> list[tuple[str, str]]:
    package, processor, memory = found["deeplab_caffe"], found["processor"], found["memory"]
    cores = f"{processor['usable_cores']} of {processor['cores']} cores"
    lines = [
        ("deeplab-caffe", f"{package['version']}, {package['folder']}"),
        ("python", found["python"]),
        ("system", found["system"]),
        ("processor", f"{processor['name']}, {cores}: {' '.join(processor['instructions'])}"),
        ("memory", f"{_gibibytes(memory['available'])} available of {_gibibytes(memory['total'])}"),
        ("extension", _facts(found["extension"])),
        ("torch", _facts(found["torch"]) if found["torch"] else "not installed"),
    ]
    lines += [(f"GPU {gpu['index']}", _gpu(gpu)) for gpu in found["gpus"]] or [("GPUs", "none is seen")]
    lines.append(("packages", _packages(found["packages"])))
    for extra, packages in found["extras"].items():
        lines.append((f"[{extra}]", _packages(packages)))
    return lines


def _facts(facts: dict[str, Any]) -> str:
    if "error" in facts:
        return f"cannot be loaded: {facts['error']}"
    return ", ".join(f"{name} {'none' if fact is None else fact}" for name, fact in facts.items())


def _gpu(gpu: dict[str, Any]) -> str:
    free, total = _gibibytes(gpu["free_memory"]), _gibibytes(gpu["total_memory"])
    capability, processors = gpu["compute_capability"], gpu["multiprocessors"]
    return f"{gpu['name']}, compute capability {capability}, {processors} multiprocessors, {free} free of {total}"


def _packages(versions: dict[str, str | None]) -> str:
    return ", ".join(f"{name} {version or 'is not installed'}" for name, version in versions.items())


def _gibibytes(count: int | None) -> str:
    return "?" if count is None else f"{count / 2**30:.1f} GiB"
