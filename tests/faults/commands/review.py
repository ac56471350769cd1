"""`astune review`: a folder holds a whole review, or none. Who gives the same command after a kill has the review."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astune.inference.review_folder import TABLE
from tests.faults.kills import Command, assert_old_or_new, astune, contents
from tests.faults.training import write_adapter_and_sounds

if TYPE_CHECKING:
    from pathlib import Path


def _review(folder: Path) -> None:
    sounds = folder / "data" / "test"
    astune("review", folder / "adapter", sounds, "--criterion", "uncertain", "--count", "3", "-o", folder / "out")


def _again(folder: Path) -> None:
    if (folder / "out" / TABLE).exists():  # the user sees that it is whole
        return
    try:
        _review(folder)
    except AssertionError:  # a review that had been written and not named is whole now, and is kept
        assert (folder / "out" / TABLE).exists()


def _check(folder: Path) -> None:
    if (folder / "out" / TABLE).exists():
        for name in ("clips", "review.json", "review.csv"):
            assert_old_or_new(folder, f"out/{name}")


def _result(folder: Path) -> dict[str, str]:
    passing = (".lock", ".partial")  # of the last moment; hidden and empty
    return {name: digest for name, digest in contents(folder).items() if not name.endswith(passing)}


COMMAND = Command(
    "review",
    prepare=write_adapter_and_sounds,
    run=_review,
    again=_again,
    check=_check,
    result=_result,
)
