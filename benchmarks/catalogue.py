"""All benchmarks. A new one is a file and a name here."""

from __future__ import annotations

from benchmarks import (
    adapters,
    devices,
    front_end,
    inference,
    linear_probe,
    one_clip,
    recipe,
    scale,
    search,
    serving,
    timeline,
    train_step,
)

BENCHMARKS = {
    module.BENCHMARK.name: module.BENCHMARK
    for module in (
        train_step,
        front_end,
        linear_probe,
        inference,
        one_clip,
        adapters,
        devices,
        timeline,
        scale,
        serving,
        recipe,
        search,
    )
}
