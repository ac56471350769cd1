"""What is done to a sound input to make it hostile; every choice comes from the generator that is given."""

from __future__ import annotations

import copy
import json
import math
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from random import Random

_INTEGERS = [
    0,
    1,
    2,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    2**63 - 1,
    2**64 - 1,
]
_VALUES: list[Any] = [
    *(None, True, False, "", " ", "0", "nan", "\x00", "\ud800", "../../up", "/etc/passwd", "x" * 70_000, "1" * 5_000),
    *(0, -1, 1, 3, 10**6, 10**9, 2**31, 2**63, 10**40, -(10**40)),
    *(0.0, -0.0, 0.5, -1.5, 1e-320, 1e38, 1e308, float("inf"), float("-inf"), float("nan")),
    *([], {}, [[]], [None], {"": None}, [1, "a", None], list(range(3_000))),
]
_PIECES = [
    "\x00",
    "\ufeff",
    "\ud800",
    "\r",
    "\n",
    "\t",
    '"',
    "'",
    "\\",
    ",",
    ";",
    ":",
    "=",
    "+",
    "{",
    "}",
    "[",
    "]",
    "&a",
    "*a",
    "<<",
    "!!int ",
    "nan",
    "1e999",
]
DEEP = 20_000  # levels; more than Python's stack has


def hostile_bytes(content: bytes, random: Random) -> bytes:
    """Content with one to eight changes: bits, numbers of a header, cuts, repeats, pieces moved."""
    changed = bytearray(content)
    for _ in range(random.choice([1, 1, 2, 3, 8])):
        # Headers say how the rest is read, so half of the changes are there.
        reach = min(len(changed), 128) if random.random() < 0.5 else len(changed)
        at = random.randrange(reach) if reach else 0
        match random.randrange(7):
            case 0 if changed:
                changed[at] ^= 1 << random.randrange(8)
            case 1 if changed:
                changed[at] = random.randrange(256)
            case 2:
                size = random.choice([1, 2, 4, 8])
                number = random.choice(_INTEGERS) % (1 << 8 * size)
                changed[at : at + size] = number.to_bytes(size, random.choice(["little", "big"]))
            case 3:
                del changed[at : at + random.choice([1, 2, 7, 64, len(changed)])]
            case 4:
                changed[at:at] = changed[at : at + random.choice([1, 4, 64, 1024])]
            case 5:
                changed[at:at] = random.randbytes(random.choice([1, 4, 64]))
            case _:
                del changed[random.randrange(len(changed) + 1) :]
    return bytes(changed)


def hostile_value(value: object, random: Random) -> object:
    """A value as JSON and YAML have it, with one to three of its parts changed, removed or repeated."""
    changed = {"": copy.deepcopy(value)}
    for _ in range(random.choice([1, 1, 1, 2, 3])):
        holder, key = random.choice(list(_holders_and_keys(changed)))
        match random.randrange(6):
            case 0 if holder is not changed:
                del holder[key]
            case 1 if isinstance(holder, list):
                holder.insert(key, copy.deepcopy(random.choice(_VALUES)))
            case 1:
                holder[random.choice(["", "extra", "x" * 300, "\ud800"])] = copy.deepcopy(random.choice(_VALUES))
            case 2:
                holder[key] = [holder[key]] * random.choice([1, 2, 1_000])
            case 3 if isinstance(holder[key], (int, float)):
                holder[key] = random.choice([-holder[key], holder[key] * 10**9, holder[key] + 0.5, str(holder[key])])
            case _:
                holder[key] = copy.deepcopy(random.choice(_VALUES))
    return changed.get("")


def _holders_and_keys(value: object) -> list[tuple[Any, Any]]:
    """Every holder and key in a nested value."""
    pairs = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    return [pair for key, part in pairs for pair in [(value, key), *_holders_and_keys(part)]]


def hostile_text(text: str, random: Random) -> str:
    """Text with one to eight changes: pieces that mean something to parsers put in, parts removed, repeated or moved."""
    for _ in range(random.choice([1, 1, 2, 3, 8])):
        at = random.randrange(len(text) + 1)
        end = min(len(text), at + random.choice([1, 2, 8, 40]))
        match random.randrange(5):
            case 0:
                text = text[:at] + text[end:]
            case 1:
                text = text[:end] + text[at:]
            case 2:
                text = text[:at] + random.choice(_PIECES) + text[random.choice([at, end]) :]
            case 3:
                text = text[:at] + str(random.choice(_VALUES)) + text[random.choice([at, end]) :]
            case _:
                text = text[:at] + chr(random.choice([random.randrange(128), random.randrange(0x3000)])) + text[end:]
    return text


def hostile_json(value: object, random: Random) -> bytes:
    """A JSON file with its values, its text or its bytes changed, or nested without end."""
    match random.randrange(20):
        case 0 | 1:
            return hostile_bytes(json.dumps(value).encode(), random)
        case 2 | 3 | 4:
            return hostile_text(json.dumps(value), random).encode("utf-8", "surrogatepass")
        case 5 if isinstance(value, dict):
            levels = random.choice([50, 100, 500, DEEP])
            return json.dumps({**value, "extra": "?"}).replace('"?"', "[" * levels + "]" * levels).encode()
        case _:
            return json.dumps(hostile_value(value, random)).encode()


_SPOILS = [math.nan, math.inf, -math.inf, 0.0, -0.0, 1e-45, 6e4, 1e20, 3e38]
_OTHER_TYPES = {
    1: ["I8", "U8", "BOOL", "F8_E4M3"],
    2: ["F16", "BF16", "I16", "U16"],
    4: ["I32", "U32"],
    8: ["I64", "U64", "F64", "C64"],
}


def hostile_tensors(content: bytes, random: Random) -> bytes:
    """A safetensors file in float32 with its bytes, its header, its shapes or its values changed."""
    (size,) = struct.unpack("<Q", content[:8])
    header, values = json.loads(content[8 : 8 + size]), bytearray(content[8 + size :])
    name = random.choice([name for name in header if name != "__metadata__"])
    entry = header[name]
    shape, (start, end) = entry["shape"], entry["data_offsets"]
    match random.randrange(8):
        case 0 | 1:
            return hostile_bytes(content, random)
        case 2:
            return _tensor_file(hostile_json(header, random), values)
        case 3:
            others = [f"{name}.more", name.replace("0", "1"), name.rpartition(".")[0], "", "x" * 9_000]
            header[random.choice(others)] = header.pop(name)
        case 4:
            header = dict(random.sample(list(header.items()), random.randrange(len(header))))
        case 5:
            entry["shape"] = random.choice(
                [shape[::-1], [*shape, 1], [math.prod(shape)], [0, 2**62], [1] * 500 + shape]
            )
        case 6:
            entry["dtype"] = random.choice(_OTHER_TYPES[(end - start) // math.prod(shape)])
        case _:
            raw, count = struct.pack("<f", random.choice(_SPOILS)), (end - start) // 4
            for number in random.choice([range(count), [random.randrange(count)]]):
                values[start + 4 * number : start + 4 * number + 4] = raw
    return _tensor_file(json.dumps(header).encode(), values)


def _tensor_file(header: bytes, values: bytearray) -> bytes:
    return struct.pack("<Q", len(header)) + header + values
