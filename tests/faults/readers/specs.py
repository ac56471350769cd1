"""Specs of methods, as the command line, experiment files and records of adapters have them: read, counted, and attached to a backbone."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING

from astune import AudioClassifier, load_backbone
from astune.counting import count
from astune.methods import FAMILIES, PRESETS, parse_method
from astune.methods.registry import method_from_record, method_record, split_specs
from tests.faults.fuzzing import Reader
from tests.faults.mutations import hostile_text, hostile_value

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from random import Random

    from astune.backbone import Backbone
    from astune.methods import Method

_SOUND = [
    *PRESETS,
    *FAMILIES,
    "lora:targets=qkvo,layers=0-3+bitfit",
    "lora:reduction_rate=64,alpha=4,init=normal,layers=0|1",
    "dpt:tokens=50",
    "spt:tokens=7",
    "prefix:tokens=8",
    "bottleneck:reduction_rate=64",
    "bottleneck:configuration=houlsby,insertion=parallel",
    "bottleneck:sublayer=ffn+dpt:tokens=14+lora:reduction_rate=256",
]
_NUMBERS = [
    *("0", "-1", "1e-320", "1e308", "inf", "nan", "0.0625", "1e9", "9" * 5_000, "1_0", "٣", "²", "0x10", "10001"),
    *("0-999999999", "0-9999", "3-0", "1" * 5_000, "0-1|" * 3_000 + "1", "all|0", ""),
]


def make(folder: Path, random: Random) -> object:
    """A spec, or the record of one as JSON has it."""
    sound = random.choice(_SOUND)
    match random.randrange(6):
        case 0:
            return hostile_value(json.loads(json.dumps(method_record(parse_method(sound)))), random)
        case 1:
            fields = ["reduction_rate", "tokens", "layers", "alpha", "targets", "residual"]
            given = [f"{random.choice(fields)}={random.choice(_NUMBERS)}" for _ in range(random.choice([1, 1, 2]))]
            return f"{sound.partition(':')[0]}:{','.join(given)}"
        case 2:
            return "+".join([sound, random.choice(_SOUND)] * random.choice([1, 2, 3_000]))
        case _:
            return hostile_text(sound, random)


def read(given: object) -> None:
    """A list of specs, as `astune compare` has it, or a record, as an adapter has it."""
    if not isinstance(given, str):
        _use([method_from_record(given)])  # type: ignore[arg-type]
        return
    _use([parse_method(spec) for spec in split_specs(given)])


def _use(methods: Sequence[Method]) -> None:
    for method in methods[:2]:
        assert method_from_record(method_record(method)) == method
        assert parse_method(method.spec).spec == method.spec
        count(method)
        AudioClassifier(_backbone().reader(), method, ["high", "low"])


@cache
def _backbone() -> Backbone:
    backbone = load_backbone("random:tiny", 32)
    backbone.lend()
    return backbone


def warm_up(folder: Path) -> None:
    for spec in _SOUND[-4:]:
        read(spec)


READER = Reader("specs", make, read, warm_up)
