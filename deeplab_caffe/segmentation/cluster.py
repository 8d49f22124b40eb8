"""Run the callables of :mod:`deeplab_caffe.segmentation.bulk` on Ray: :func:`segment_files`."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from deeplab_caffe.data.inputs import WorkItem
from deeplab_caffe.errors import NetError, how_to_install
from deeplab_caffe.segmentation.bulk import Decode, Network, Refine, Row

# Number of times that a task whose worker died is tried again.
RETRIES = 3
# Size of the object store, if Ray is started here; the stages wait for each other before it is full.
STORE_BYTES = 500_000_000
# Photographs per task, which are repeated if its worker dies.
MOST_ROWS = 64
# Photographs per call: limits how many are decoded at once outside of the object store.
_BATCH = 4
# Processors that each worker requests; together they fit into a machine with two.
_DECODE_CPUS, _NETWORK_CPUS, _REFINE_CPUS = 0.25, 0.75, 1.0
_LOST = "its worker ended again and again, perhaps for want of memory: run what is missing again, or set max_side"


def segment_files(
    items: Sequence[WorkItem], network: Network, refine: Refine, *, address: str | None = None
) -> Iterator[Row]:
    """Segment files on Ray's workers, which write the results; yield a row for each file when it is done, in any order.

    If a worker dies, it is started again and its task is repeated: files are written completely or not at all, and each
    item is returned once. A task whose worker dies again and again is given up, and its items are returned with an
    error. Each stage gets as many workers as keep the others busy. The network's workers get a GPU each if the cluster
    has any, unless the network's options say ``device="cpu"``. If Ray already runs in this process, it is used.

    Args:
        items: the photographs. Their paths, and those in ``network`` and ``refine``, must be absolute and visible on
            all machines.
        network: runs the network.
        refine: computes labels and writes them.
        address: address of a Ray cluster, ``auto`` for the one of this machine; None: start Ray here.

    Yields:
        ``index`` of the item, ``photo``, ``name``, ``error`` (empty: none), ``text`` and ``described`` of
        :class:`Refine`, and ``workers``: the ids of the processes that computed it.

    Raises:
        NetError: ray is not installed, there is no cluster at the address, or it has too few processors or no GPU.
    """
    if not items:
        return
    with _ray(address) as ray:
        gpus = _gpus(ray, network)
        network = replace(network, options={**network.options, "device": "cuda" if gpus else "cpu"})
        missing = dict(enumerate(items))
        for row in _run(ray, items, (Decode(), network, refine), gpus):
            if missing.pop(int(row["index"]), None) is not None:
                yield row
        for index, item in missing.items():
            row = {"index": index, "photo": item.source, "name": item.name, "error": _LOST}
            yield {**row, "text": "", "described": "", "workers": ""}


def _run(ray: Any, items: Sequence[WorkItem], stages: tuple[Any, Any, Any], gpus: bool) -> Any:
    """Return the rows of items, as they are done, without those whose tasks were given up."""
    rows = min(MOST_ROWS, len(items) // MOST_ROWS) or 1
    # A dying worker takes along the tasks that wait for it, so with one photograph per task nothing waits for it.
    waiting = {"max_tasks_in_flight_per_actor": 1} if rows == 1 else {}
    context = ray.data.DataContext.get_current().copy()
    context.enable_progress_bars = context.print_on_execution_start = False
    context.max_errored_blocks = -1
    with ray.data.DataContext.current(context):
        listed = [{"index": index, "photo": item.source, "name": item.name} for index, item in enumerate(items)]
        dataset = ray.data.from_items(listed, override_num_blocks=-(-len(listed) // rows))
        shares: list[dict[str, float]] = [
            {"num_cpus": _DECODE_CPUS},
            {"num_cpus": _NETWORK_CPUS, **({"num_gpus": 1} if gpus else {})},
            {"num_cpus": _REFINE_CPUS},
        ]
        for stage, share in zip(stages, shares, strict=True):
            fields = {name: value for name, value in vars(stage).items() if not name.startswith("_")}
            with warnings.catch_warnings():
                # Ray 2.60 has no other way yet to set how often a task is tried.
                warnings.filterwarnings("ignore", "`ray_remote_args` is deprecated")
                dataset = dataset.map_batches(
                    type(stage),
                    fn_constructor_kwargs=fields,
                    batch_size=min(_BATCH, rows),  # Ray joins blocks that are smaller than a batch
                    batch_format="numpy",
                    compute=ray.data.ActorPoolStrategy(min_size=1, **waiting),
                    max_task_retries=RETRIES,
                    **share,
                )
        return dataset.iter_rows()


def _gpus(ray: Any, network: Network) -> bool:
    """Return whether the network runs on GPUs.

    Raises:
        NetError: there is no GPU for it, or there are too few processors for one worker of each stage.
    """
    has = ray.cluster_resources()
    least = _DECODE_CPUS + _NETWORK_CPUS + _REFINE_CPUS
    if has.get("CPU", 0) < least:
        raise NetError(
            f"the Ray cluster has {has.get('CPU', 0):g} processors, it needs {least:g}: a worker for each stage"
        )
    device = str(network.options.get("device", "auto"))
    if device.startswith("cuda") and not has.get("GPU"):
        raise NetError(f"device '{device}' is asked for, but the Ray cluster has no GPU")
    return device != "cpu" and bool(has.get("GPU"))


@contextmanager
def _ray(address: str | None) -> Iterator[Any]:
    """Return ray in a context, connected to a cluster; what was started here is shut down at the end."""
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise NetError(f"Ray cannot be imported ({error}): {how_to_install('ray')}") from None
    if ray.is_initialized():
        yield ray
        return
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    # A running cluster has its own resources, so these are only for one that is started here.
    own: dict[str, Any] = {"address": "local", "include_dashboard": False, "object_store_memory": STORE_BYTES}
    own["num_cpus"] = max(2, os.cpu_count() or 1)
    try:
        ray.init(**({"address": address} if address else own), log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise NetError(f"no Ray cluster at address '{address}': {error}") from error
    try:
        yield ray
    finally:
        ray.shutdown()
