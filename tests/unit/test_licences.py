"""docs/licences.md is what the installed packages say, and none of them has a licence that we do not allow."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import Distribution, PathDistribution, distribution, version
from pathlib import Path

import pytest

from dependencies import licences
from dependencies.lock import ROOT
from dependencies.packages import PROJECT, pinned, user_extras, with_their_own

NAMES = with_their_own([*PROJECT["dependencies"], *(one for asked in user_extras().values() for one in asked)])


@pytest.fixture
def as_pinned() -> None:
    """Metadata changes with versions, so the page can be compared only with the pinned ones."""
    known = pinned()
    others = sorted(name for name in NAMES if version(name).partition("+")[0] != known[name])
    if others:
        pytest.skip(f"not the versions of constraints.txt: {', '.join(others)}")


@pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="the page names libraries of this platform"
)
@pytest.mark.usefixtures("as_pinned")
def test_the_page_is_current() -> None:
    assert (ROOT / "docs" / "licences.md").read_text(encoding="utf-8") == licences.page(), "run `make licences`"


def test_every_licence_is_allowed() -> None:
    for name in NAMES:
        assert licences.licence(distribution(name))


def _package(folder: Path, *lines: str, text: str = "", files: str = "") -> Distribution:
    info = folder / "made_up-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "\n".join(["Metadata-Version: 2.4", "Name: made-up", "Version: 1", *lines]), encoding="utf-8"
    )
    (info / "LICENSE").write_text(text, encoding="utf-8")
    (info / "RECORD").write_text(f"made_up-1.dist-info/LICENSE,,\n{files}", encoding="utf-8")
    for name in (
        line.partition(",")[0] for line in files.splitlines()
    ):  # Python 3.12 leaves out files that are not there
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    return PathDistribution(info)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("License-Expression: MIT AND Apache-2.0 WITH LLVM-exception", "MIT AND Apache-2.0 WITH LLVM-exception"),
        ("License: Apache 2.0", "Apache-2.0"),
        ("Classifier: License :: OSI Approved :: ISC License (ISCL)", "ISC"),
    ],
)
def test_each_way_to_say_a_licence(tmp_path: Path, line: str, expected: str) -> None:
    assert licences.licence(_package(tmp_path, line)) == expected


@pytest.mark.parametrize(
    ("clause", "expected"), [("Neither the\nname of the authors", "BSD-3-Clause"), ("As is.", "BSD-2-Clause")]
)
def test_the_text_says_which_bsd(tmp_path: Path, clause: str, expected: str) -> None:
    package = _package(
        tmp_path, "Classifier: License :: OSI Approved :: BSD License", text=f"Redistribution and use. {clause}"
    )
    assert licences.licence(package) == expected


@pytest.mark.parametrize(
    "line",
    [
        "License-Expression: AGPL-3.0-only",
        "License-Expression: MIT AND GPL-3.0-only",
        "License-Expression: LGPL-2.1-or-later",
        "License: ====",
        "License: BSD",
        "Classifier: License :: OSI Approved :: GNU General Public License v3 (GPLv3)",
        "Summary: says nothing",
    ],
)
def test_other_licences_are_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(ValueError, match="made-up: "):
        licences.licence(_package(tmp_path, line))


def test_libraries_inside_wheels_are_known(tmp_path: Path) -> None:
    package = _package(tmp_path, files="made_up.libs/libx264-d6533a8d.so.165,,\nmade_up/_ours.so,,\n")
    assert licences.libraries(package) == {"libx264": "GPL-2.0-or-later"}


def test_an_unknown_library_is_refused(tmp_path: Path) -> None:
    package = _package(tmp_path, files="made_up.libs/libnew-d6533a8d.so.1,,\n")
    with pytest.raises(ValueError, match=r"look up the licence of libnew-d6533a8d.so.1"):
        licences.libraries(package)
