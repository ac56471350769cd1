"""pyproject.toml names what the code imports, with lowest versions; the audit does not take silence for safety."""

from __future__ import annotations

import ast
import sys
from importlib.metadata import packages_distributions
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from dependencies import audit, lowest, packages
from dependencies.lock import ROOT

NOT_NAMED = {
    "pydantic-core": "a part of pydantic, which asks for one version of it",
    "ipython": "there is a notebook only where it is installed",
}


def _imported() -> set[str]:
    """The packages of others that astune imports, functions included."""
    found: set[str] = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module)
    return {name.partition(".")[0] for name in found} - set(sys.stdlib_module_names) - {"astune"}


def test_every_import_is_a_dependency_that_is_named() -> None:
    homes = packages_distributions()
    found = {canonicalize_name(homes[name][0]) for name in _imported()}
    assert found - set(lowest.declared()) == set(NOT_NAMED)


def test_every_dependency_has_a_lowest_version() -> None:
    assert lowest.declared().items() >= {"torch": "2.10", "numpy": "2.0", "starlette": "1.8"}.items()


def test_all_names_every_extra_for_users_and_dev_names_the_others() -> None:
    (everything,) = map(Requirement, packages.EXTRAS["all"])
    assert everything.name == "astune"
    assert everything.extras == set(packages.user_extras())
    assert Requirement(packages.EXTRAS["dev"][0]).extras == set(packages.GROUPS) - {"dev"}
    assert {name for name in packages.EXTRAS if name not in packages.GROUPS} == everything.extras


@pytest.mark.parametrize("asked", ["wandb", "wandb<2", "wandb==1.0"])
def test_a_dependency_without_one_is_refused(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(packages.EXTRAS, "wandb", [asked])
    with pytest.raises(ValueError, match=r"needs one lowest version, as in wandb>=1.0"):
        lowest.declared()


def test_a_lowest_version_that_cannot_be_installed_is_named() -> None:
    text = "".join(f"{name}=={version}\n" for name, version in lowest.declared().items())
    assert lowest.untrue(text) == []
    assert lowest.untrue(text.replace("torch==2.10\n", "torch==2.10.0\n")) == []
    assert lowest.untrue(text.replace("torch==2.10\n", "torch==2.11.0\n")) == [
        "torch>=2.10 in pyproject.toml cannot be installed: 2.11.0 is the lowest"
    ]


SOUND = {"name": "numpy", "version": "2.4.6", "vulns": []}
SILENT = {"name": "torch", "skip_reason": "not found"}
KNOWN = {"name": "ray", "version": "2.40.0", "vulns": [{"id": "CVE-2026-32981", "fix_versions": ["2.55.0"]}]}


@pytest.mark.parametrize(
    ("found", "code", "words"),
    [
        ([SOUND], 0, "1 of 1 packages were looked up, 0 vulnerabilities are known"),
        ([SOUND, KNOWN], 1, "ray 2.40.0: CVE-2026-32981, fixed in 2.55.0"),
        ([SOUND, SILENT], 2, "1 of 2 packages were looked up"),
        ([SILENT], 2, "Not looked up: not found."),
        ([KNOWN, SILENT], 1, "Not looked up: not found."),
    ],
)
def test_silence_is_not_safety(found: list[dict[str, Any]], code: int, words: str) -> None:
    lines, given = audit.verdict({"dependencies": found})
    assert given == code
    assert words in "\n".join(lines)
