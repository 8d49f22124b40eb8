"""Compare readers of MAT 5 files on hostile ones: ``python tools/fuzz_mat.py --files 20000``.

Each reader gets the same files, a batch in each subprocess, with 4 GiB of address space. The script counts ends by a
signal, calls of more than two seconds of CPU time, calls whose peak memory grows by more than 64 MiB plus 40 times the
file, and exceptions other than the reader's own.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import resource
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
from scipy.io import loadmat, savemat, whosmat

from deeplab_caffe.data import read_blob_mat, write_blob_mat
from deeplab_caffe.errors import DataError

BATCH = 250
HUGE = (0, 1, 7, 8, 2**16, 2**24, 2**28, 2**31 - 1, 2**31, 2**32 - 8, 2**32 - 1)


def seeds() -> list[bytes]:
    """Return sound files: ours, scipy's compressed and not, big-endian, with cells, structs, sparse and text."""
    random_blob = np.random.default_rng(0).standard_normal((1, 3, 4, 5)).astype(np.float32)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ours.mat"
        write_blob_mat(path, random_blob)
        found.append(path.read_bytes())
    cell = np.empty((1, 3), object)
    cell[0] = [np.eye(2), "text", np.array([[1 + 2j]])]
    nest = cell
    for _ in range(20):
        outer = np.empty((1, 1), object)
        outer[0, 0] = nest
        nest = outer
    others = (
        {"data": random_blob.T},
        {"x": np.arange(5.0), "data": random_blob.T.astype(float)},
        {"cell": cell, "data": random_blob.T},
        {"nest": nest, "data": random_blob.T},
        {"data": cell},
        {"data": nest},
        {"data": {"a": 1.0, "b": {"c": "text"}}},
        {"data": "text"},
        {"data": np.array([[1 + 2j, 3]])},
    )
    for variables in others:
        for compressed in (False, True):
            stream = io.BytesIO()
            savemat(stream, variables, do_compression=compressed)
            found.append(stream.getvalue())
    return found


def repacked(content: bytes, rng: random.Random) -> bytes:
    """Return a mutated file whose last element is compressed again, so that damage lies behind zlib's checksum."""
    if len(content) <= 136:
        return content
    kind, count = struct.unpack("<II", content[128:136])
    body = content[128:]
    if kind == 15:
        try:
            body = zlib.decompress(content[136 : 136 + count])
        except zlib.error:
            return content
    body = mutated(body, rng)
    if rng.random() < 0.1:
        body += bytes(rng.choice((1 << 16, 1 << 22, 1 << 26)))
    packed = zlib.compress(body)
    return content[:128] + struct.pack("<II", 15, len(packed)) + packed


def mutated(content: bytes, rng: random.Random) -> bytes:
    """Return the content with flipped bits, huge lengths, cut, repeated or foreign parts."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 8))):
        if not data:
            break
        way, at = rng.randrange(7), rng.randrange(len(data))
        if way == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif way == 1:
            data[at] = rng.randrange(256)
        elif way in (2, 3):
            at -= at % 4
            data[at : at + 4] = struct.pack("<I", rng.choice(HUGE))
        elif way == 4:
            del data[at:]
        elif way == 5:
            data[at:at] = data[at : at + rng.randrange(1, 64)]
        else:
            at -= at % 8
            data[at : at + 4] = struct.pack("<I", rng.randrange(20))
    return bytes(data)


def hostile(number: int, originals: list[bytes]) -> bytes:
    """Return the file of that number."""
    rng = random.Random(number)
    content = rng.choice(originals)
    if rng.random() < 0.4:
        return repacked(content, rng)
    head = content[:128] if rng.random() < 0.9 else mutated(content[:128], rng)
    return head + mutated(content[128:], rng)


def read_ours(path: Path) -> None:
    """Read by the package."""
    read_blob_mat(path)


def read_scipy(path: Path) -> None:
    """Read by scipy, with the size looked at first."""
    try:
        shapes = {name: shape for name, shape, _ in whosmat(path)}
        if "data" not in shapes or np.prod(shapes["data"], dtype=object) * 4 > 2**31:
            raise DataError("no data, or too large", path)
        loadmat(path, variable_names=["data"])
    except DataError:
        raise
    except Exception as error:
        raise DataError(str(error), path) from error


READERS = {"ours": read_ours, "scipy": read_scipy}


def peak_kib() -> int:
    """Return the highest resident size since the last reset."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def work(reader: str, first: int, count: int) -> None:
    """Read the files of some numbers; one JSON line for each on stdout."""
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    originals = seeds()
    path = Path(tempfile.gettempdir()) / f"fuzz_mat_{os.getpid()}.mat"
    for number in range(first, first + count):
        content = hostile(number, originals)
        path.write_bytes(content)
        Path("/proc/self/clear_refs").write_text("5")
        before, begin, result = peak_kib(), time.process_time(), "read"
        print(json.dumps({"number": number}), flush=True)
        try:
            READERS[reader](path)
        except DataError:
            result = "refused"
        except Exception as error:
            result = f"raw {type(error).__name__}"
        seconds, grown = time.process_time() - begin, 1024 * (peak_kib() - before)
        if seconds > 2:
            print(json.dumps({"number": number, "slow": round(seconds, 1)}), flush=True)
        if grown > (64 << 20) + 40 * len(content):
            print(json.dumps({"number": number, "memory": grown, "size": len(content)}), flush=True)
        print(json.dumps({"number": number, "result": result}), flush=True)
    path.unlink(missing_ok=True)


def main() -> None:
    """Run all batches and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--reader", choices=READERS, action="append")
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.work[0], int(options.work[1]), int(options.work[2]))
        return
    for reader in options.reader or READERS:
        counts: Counter[str] = Counter()
        worst = 0
        number, end = options.first, options.first + options.files
        while number < end:
            count = min(BATCH, end - number)
            command = [sys.executable, __file__, "--work", reader, str(number), str(count)]
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=300)
                output, status = done.stdout, done.returncode
            except subprocess.TimeoutExpired as error:
                output, status = (error.stdout or b"").decode(), -1
                counts["hung"] += 1
            lines = [json.loads(line) for line in output.splitlines() if line.endswith("}")]
            for line in lines:
                counts[line.get("result", "")] += "result" in line
                counts["slow"] += "slow" in line
                counts["memory"] += "memory" in line
                worst = max(worst, line.get("memory", 0))
            number = max((line["number"] for line in lines), default=number) + 1
            if status:
                counts[f"died {status}"] += 1
                print(f"{reader}: file {number - 1} ended the process: {status}", flush=True)
        print(f"{reader}: {dict(+counts)}, most memory {worst >> 20} MiB", flush=True)


if __name__ == "__main__":
    main()
