"""Same inputs, same bytes: training, predictions, embeddings and a report, where nothing differs that a result may depend on.

Each variation is a process of its own in a folder of its own, and its files are compared with those of the first one. What may differ is
named in `_MAY_DIFFER` and taken out, and the folder's path is replaced.
All have the processor's precision from the first one's cache, where it
is measured once. Reports show times of runs, so all report on the runs of the first one.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from astune import markdown
from astune.data.generated import write_generated
from tests.faults.training import TIMES, without

LIMIT = 900.0  # seconds of a variation on a busy machine
_MAY_DIFFER = TIMES | {"commit", "dirty"}  # the state of the source
_PREDICTED = "predictions.jsonl"  # has times of the recordings
_PRECISION = "cache/processors.json"


@dataclass(frozen=True)
class Variation:
    """What differs from the first run.

    Attributes:
        name: says it.
        environment: variables.
        order: seed of the order in which the files are made; by their names where None.
        folder: name of the folder.
        umask: of the process.
        cores: that it may use.
        workers: processes that predict. Runs of a table side by side share the cores out, and other numbers of threads round differently.
        resumed: whether the training is cut off after two steps and goes on.
    """

    name: str
    environment: dict[str, str] = field(default_factory=dict)
    order: int | None = None
    folder: str = "a"
    umask: int = 0o022
    cores: int | None = 1
    workers: int = 1
    resumed: bool = False


PLAIN = Variation("plain", {"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8", "TZ": "UTC"})
ALL_AT_ONCE = Variation(
    "all at once",
    {"PYTHONHASHSEED": "4711", "LC_ALL": "C", "TZ": "Pacific/Auckland"},
    order=3, folder="a longer name with ü", umask=0o077, cores=None, workers=2, resumed=True,
)  # fmt: skip
VARIATIONS = (
    *(Variation(f"hash seed {seed}", {"PYTHONHASHSEED": seed}) for seed in ("1", "4711", "random")),
    *(Variation(f"files made in order {order}", order=order) for order in range(3)),
    *(Variation(f"locale {name}", {"LC_ALL": name}) for name in ("C", "POSIX", "C.UTF-8", "tr_TR.UTF-8")),
    *(Variation(f"time zone {name}", {"TZ": name}) for name in ("Pacific/Auckland", "America/St_Johns")),
    *(Variation(f"folder {name!r}", folder=name) for name in ("x" * 120, "with blank", "ümläut", "deep/er/still")),
    *(Variation(f"umask {mask:03o}", umask=mask) for mask in (0o000, 0o077)),
    *(Variation(f"{number} workers", workers=number) for number in (2, 4)),
    Variation("all cores", cores=None),
    Variation("resumed", resumed=True),
    ALL_AT_ONCE,
)


def outputs(
    variation: Variation, sounds: Path, empty_folder: Path, *, table: bool, first: Path | None = None
) -> dict[str, str]:
    """Digests of all that is written and predicted in one variation.

    Args:
        variation: what differs.
        sounds: folder of sounds.
        empty_folder: an empty folder.
        table: whether a table is reproduced and reported too.
        first: folder of the first variation; None where this is the first one.

    Returns:
        By the names of files.
    """
    folder = empty_folder / variation.folder
    folder.mkdir(parents=True)
    files = sorted(path.relative_to(sounds) for path in sounds.rglob("*.wav"))
    if variation.order is not None:
        random.Random(variation.order).shuffle(files)  # noqa: S311 - an order, no secret
    for file in files:
        (folder / "data" / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(sounds / file, folder / "data" / file)
    if first is not None and (first / _PRECISION).exists():
        (folder / _PRECISION).parent.mkdir()
        shutil.copyfile(first / _PRECISION, folder / _PRECISION)
    how = {
        "workers": variation.workers, "resumed": variation.resumed, "cores": variation.cores, "table": table,
        "reported": str((first or folder) / "store"),
    }  # fmt: skip
    environment = os.environ | {"ASTUNE_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"} | variation.environment
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.deterministic_job", str(folder), json.dumps(how)],
        env=environment, umask=variation.umask, capture_output=True, text=True, timeout=LIMIT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{variation.name}: {done.stderr[-2000:]}"
    return {
        str(path.relative_to(folder)): hashlib.sha256(_compared(path, str(folder))).hexdigest()[:16]
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).parts[0] not in {"data", "cache"}
    }


def _compared(path: Path, folder: str) -> bytes:
    content = path.read_bytes()
    if path.suffix in {".safetensors", ".png", ".pdf"}:
        return content
    if path.suffix == ".npz":  # paths are in it
        with np.load(path) as arrays:
            found = {name: arrays[name] for name in arrays.files}
        text = "\n".join(
            f"{name} {one.shape} {one.tobytes().hex() if one.dtype.kind != 'U' else one.tolist()}"
            for name, one in found.items()
        )
        text = text.replace("\\\\", "\\")  # of JSON within a list
    elif path.suffix in {".json", ".jsonl"}:
        lines = [content] if path.suffix == ".json" else content.splitlines()
        names = _MAY_DIFFER | ({"state"} if path.name == _PREDICTED else set())
        values = [without(json.loads(line), names) for line in lines]
        text = "\n".join(json.dumps(value, ensure_ascii=False) for value in values)
    else:
        text = content.decode("utf-8")
    for written in (folder, json.dumps(folder)[1:-1], markdown.text(folder)):  # a random name may have two underscores
        text = text.replace(written, "FOLDER")
    return text.encode()


@dataclass
class Compared:
    """What became of the variations.

    Attributes:
        files: that were compared, of each.
        same: names of the variations that gave the same bytes.
        other: names of the files that differed, by variation.
        seconds: that it took.
    """

    files: int = 0
    same: list[str] = field(default_factory=list)
    other: dict[str, list[str]] = field(default_factory=dict)
    seconds: float = 0.0


def compare(variations: tuple[Variation, ...], *, table: bool = True) -> Compared:
    """Run variations and compare what they write with what the plain one writes.

    Args:
        variations: beside the plain one.
        table: whether a table is reproduced and reported too.
    """
    found, begin = Compared(), time.monotonic()
    with tempfile.TemporaryDirectory() as root:
        sounds = write_generated(Path(root, "sounds"), clips_per_class=(9, 3, 3), seconds=0.5)
        wanted = outputs(PLAIN, sounds, Path(root, "plain"), table=table)
        found.files = len(wanted)
        for number, variation in enumerate(variations):
            made = outputs(
                variation, sounds, Path(root, str(number)), table=table, first=Path(root, "plain", PLAIN.folder)
            )
            other = [name for name in sorted({*made, *wanted}) if made.get(name) != wanted.get(name)]
            if other:
                found.other[variation.name] = other
            else:
                found.same.append(variation.name)
    found.seconds = time.monotonic() - begin
    return found
