"""Workers on a Ray cluster: Ray Data gives recordings to actors, each with a predictor of its own."""

from __future__ import annotations

import json
import logging
import os
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astune.cluster import ray_cluster
from astune.errors import AstuneError, AudioError, ConfigError
from astune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from astune.inference.workers import Answer, Question, Unit, Workers

_RETRIES = 3  # of recordings whose worker died
_CORES = 4  # of a worker without a GPU, where the number of workers is left open


def on_ray(workers: Workers, question: Question, units: Sequence[Unit]) -> Iterator[tuple[int, Answer]]:
    """Ask the workers of a cluster about recordings.

    Args:
        workers: the workers, with the cluster's address.
        question: what is asked of each.
        units: recordings that are handed out together.

    Yields:
        The place of a recording and its answer, as they are ready.

    Raises:
        AstuneError: workers cannot load the adapter.
        ConfigError: Ray is not installed, or no cluster answers.
    """
    with ray_cluster(workers.ray or "auto"):
        import ray.data

        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.max_errored_blocks = -1  # what is missing at the end is reported, recording by recording
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        room: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call] # it has no types
        gpus = 0 if workers.device == "cpu" else int(room.get("GPU", 0))
        cores = int(room.get("CPU", 1))
        count = min(workers.count or gpus or max(1, cores // _CORES), len(units))
        each = max(1, cores // count)
        handed = ray.data.from_items([{"unit": json.dumps(unit)} for unit in units], override_num_blocks=len(units))
        answered = handed.map_batches(
            _Actor, fn_constructor_args=(workers, question, each, Path.cwd()), batch_size=1, concurrency=count, num_cpus=each,
            num_gpus=min(1, gpus / count), max_restarts=_RETRIES, max_task_retries=_RETRIES,
        )  # fmt: skip
        missing = dict(one for unit in units for one in unit)
        for row in answered.iter_rows():
            found = pickle.loads(row["answers"])  # noqa: S301 - our own workers'
            if isinstance(found, Exception):
                raise found
            for number, answer in found:
                del missing[number]
                yield number, answer
        for number, path in missing.items():
            reason = (
                f"{printable(path)}: the worker that read it, or other recordings with it, died {_RETRIES + 1} times"
            )
            yield number, question.failed(path, AudioError(reason))


class _Actor:
    """A worker of the cluster; what is wrong with it comes back in the place of answers."""

    def __init__(self, workers: Workers, question: Question, cores: int, directory: Path) -> None:
        self.question = question
        self.fault: Exception | None = None
        try:
            os.chdir(directory)  # where the user's relative paths begin
            self.predictor = workers.predictor(0, cores)  # Ray shows each worker its own GPU
        except OSError:
            self.fault = ConfigError(
                f"{directory} does not exist on every machine of the cluster; work in a folder that does"
            )
        except AstuneError as fault:
            self.fault = fault

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[bytes]]:
        if self.fault is not None:
            return {"answers": [pickle.dumps(self.fault)]}
        try:
            (unit,) = map(json.loads, batch["unit"])
            answers = self.question.answers(self.predictor, [path for _, path in unit])
            found = [(number, answer) for (number, _), answer in zip(unit, answers, strict=True)]
        except AstuneError as fault:
            return {"answers": [pickle.dumps(fault)]}
        return {"answers": [pickle.dumps(found)]}
