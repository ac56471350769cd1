"""Errors of the library in the words of the command line."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command

from astune.cli import app
from astune.cli.wording import in_options, options_of

TRAIN = options_of(get_command(app).commands["train"].params)  # type: ignore[attr-defined]
REPRODUCE = options_of(get_command(app).commands["reproduce"].params)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("out is there; set overwrite_output_dir=True", "out is there; set --overwrite-output-dir"),
        ("set cache_frozen=False, then", "set --no-cache-frozen, then"),
        ("num_train_epochs=0: it is too small", "--num-train-epochs 0: it is too small"),
        ("give selection=best-validation.", "give --selection best-validation."),
        ("learning_rate=-1: Input should be greater", "--learning-rate -1: Input should be greater"),
        ("output_dir is missing", "--output-dir is missing"),
        ("set the field `seed`", "set the --seed"),
        ("or early_stopping_patience, which goes by it", "or --early-stopping-patience, which goes by it"),
        ("patchout= is not for this", "--patchout is not for this"),
    ],
)
def test_fields_become_options(message: str, shown: str) -> None:
    assert in_options(message, TRAIN) == shown


@pytest.mark.parametrize(
    "message",
    [
        "lora:layers=8 is unknown; lora:seed=3",  # a field of a method
        "/data/output_dir/x cannot be written",
        "'output_dir' is the name of a class",
        "unknown field 'sede'; choose one of: seed, max_length, output_dir",
        "birds.yaml: 2 faults\n  - learning_rate=-1: it is too small\n  - output_dir is missing",
        "seed=None stands for the default",
        "train(output_dir=1)",
        "nothing=True is not a field",
        "data=sounds is an argument",
        "the method of a method, the seed and the fold",
    ],
)
def test_what_is_not_a_field_of_the_command_stays(message: str) -> None:
    assert in_options(message, TRAIN) == message


def test_a_parameter_with_another_option_is_found_by_both_names() -> None:
    assert in_options("folds=3 and fold=3", REPRODUCE) == "--fold 3 and --fold 3"
    assert in_options("num_train_epochs=2", REPRODUCE) == "--num-train-epochs 2"


def test_the_mapping_has_every_option_of_a_command() -> None:
    assert TRAIN["resume"] == ("--resume", "--no-resume")
    assert "data" not in TRAIN
    assert len(TRAIN) > 50


def test_the_library_names_fields() -> None:
    """Only commands in backticks or quotes have options: who calls it from Python has none."""
    package = Path(__file__).parents[2] / "src" / "astune"
    commands = get_command(app).commands.values()  # type: ignore[attr-defined]
    options = {option for command in commands for option, _ in options_of(getattr(command, "params", ())).values()}
    assert "--skip-broken" in options
    named = [
        f"{path.name}: {text}"
        for path in package.rglob("*.py")
        if path.parent.name != "cli"
        for text in _texts(ast.parse(path.read_text(encoding="utf-8")))
        if options & set(re.findall(r"--[a-z-]+", re.sub(r"`[^`]*`|'[^']*'", "", text)))
    ]
    assert named == []


def _texts(tree: ast.AST) -> Iterator[str]:
    """Every text of a module but docstrings, with {} for what an f-string fills in."""
    docstrings = {id(one.value) for one in ast.walk(tree) if isinstance(one, ast.Expr)}
    joined = [one for one in ast.walk(tree) if isinstance(one, ast.JoinedStr)]
    inside = {id(part) for text in joined for part in text.values}
    for text in joined:
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in text.values)
    for one in ast.walk(tree):
        if isinstance(one, ast.Constant) and isinstance(one.value, str) and not {id(one)} & (docstrings | inside):
            yield one.value
