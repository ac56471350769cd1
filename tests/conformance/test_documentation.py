"""Every command and every Python example of README and docs runs, or says why it is skipped."""

from __future__ import annotations

import pkgutil
import re
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from astune.cli import main
from astune.counting import count
from astune.methods import PRESETS
from tests.conformance.test_counts import TABLE_1

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "astune"
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
HANDWRITTEN = [page for page in PAGES if page.parent.name != "reports"]
CODE = "\n".join(
    path.read_text(encoding="utf-8")
    for folder in ("src", "tests", "benchmarks", "pretraining", "docs")
    for path in (ROOT / folder).rglob("*.py")
    if path != Path(__file__)  # which names what must not be found
)
WORDS = set(re.findall(r"\w+", CODE))
_BLOCK = re.compile(
    r"(?:<!-- (?P<tag>run|skip: [^\n]+?) -->\n)?```(?P<kind>console|python|yaml)\n(?P<body>.*?)```", re.DOTALL
)


@dataclass(frozen=True)
class Example:
    page: str
    number: int
    tag: str | None
    kind: str
    body: str

    @property
    def commands(self) -> list[list[str]]:
        return [shlex.split(line[2:], comments=True) for line in self.body.splitlines() if line.startswith("$ ")]


EXAMPLES = [
    Example(page.relative_to(ROOT).as_posix(), number, block["tag"], block["kind"], block["body"])
    for page in PAGES
    for number, block in enumerate(_BLOCK.finditer(page.read_text(encoding="utf-8")))
]
ASTUNE = [e for e in EXAMPLES if e.kind in ("python", "yaml") or any(command[0] == "astune" for command in e.commands)]
SKIPPED = [e for e in ASTUNE if e.tag and e.tag.startswith("skip: ")]
RUN = [e for e in ASTUNE if e not in SKIPPED]


def test_there_are_examples() -> None:
    readme = [example for example in RUN if example.page == "README.md"]
    assert sum(example.tag == "run" for example in readme) >= 2
    assert any(example.kind == "python" for example in readme)


@pytest.fixture
def working_folder(generated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder, with the tree README draws."""
    for bird, sound in (("blackbird", "frog_chorus"), ("robin", "zip")):
        (tmp_path / "recordings" / bird).mkdir(parents=True)
        for number, file in enumerate(sorted(generated.rglob(f"{sound}/*.wav"))):
            shutil.copy(file, tmp_path / "recordings" / bird / f"{number:02d}.wav")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("example", SKIPPED, ids=lambda e: f"{e.page}-{e.number}")
def test_example_cannot_run(example: Example) -> None:
    pytest.skip((example.tag or "").removeprefix("skip: "))


@pytest.mark.parametrize("page", dict.fromkeys(example.page for example in RUN))
@pytest.mark.usefixtures("working_folder")
@pytest.mark.filterwarnings(
    "ignore:At least one mel filter has all zero values"
)  # transformers' own, of its own front end
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # peft 0.21 reads it
def test_the_examples_of_a_page_run(
    page: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In their order: later ones need what earlier ones leave."""
    for example in RUN:
        if example.page == page:
            run(example, monkeypatch, capsys)


def run(example: Example, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    if example.kind == "yaml":
        named = re.match(r"# (\S+\.yaml)\n", example.body)
        assert named, "a YAML example opens with a comment that names its file"
        Path(named[1]).write_text(example.body, encoding="utf-8")
        return
    if example.kind == "python":
        exec(compile(example.body, example.page, "exec"), {"__name__": "__main__"})  # noqa: S102 - our own page
        return
    assert example.tag == "run", "a block of astune commands needs the tag <!-- run --> or <!-- skip: reason -->"
    for command in example.commands:
        assert command[0] == "astune", f"{command[0]} beside astune in one block"
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code, f"{example.page}, example {example.number}: {capsys.readouterr().err}"


def test_the_table_of_methods_is_what_the_command_prints() -> None:
    readme = (ROOT / "docs" / "guides" / "choose-a-method.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`[a-z0-9`, -]+) \| ([\d,]+) \| ([\d.]+) \| ([\d.]+) MB \|$", readme, re.MULTILINE)
    seen = {}
    for names, parameters, percent, megabytes in rows:
        for name in re.findall(r"`([^`]+)`", names):
            figures = count(PRESETS[name])
            seen[name] = figures
            assert f"{figures.parameters:,}" == parameters
            assert float(percent) == pytest.approx(figures.percent_of_full, abs=0.005)
            assert float(megabytes) == pytest.approx(figures.adapter_bytes / 1e6, rel=0.005, abs=0.005)
    assert set(TABLE_1) <= set(seen)  # a preset that is added need not be in it


def test_the_readme_counts_are_what_the_command_prints() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| ([\d,]+) \|", README, re.MULTILINE)
    assert len(rows) == 6
    assert [(name, f"{count(PRESETS[name]).parameters:,}") for name, _ in rows] == rows


def test_the_readme_is_short_and_opens_with_the_installation() -> None:
    assert len(README.splitlines()) < 150
    assert README.index("pip install astune") < README.index("astune train") < README.index("```python")


WRITTEN = ("results/",)  # where `astune reproduce` writes, in the user's folder
_PATH = re.compile(r"(?:[\w.-]+/)*[\w.-]+\.(?:py|yaml|md|html|js|json|csv|cff|toml)|(?:[\w.-]+/)+")
_NAME = re.compile(r"@?[A-Za-z_][\w.]*(?:\(.*\))?")


def prose(page: Path) -> str:
    """A page without its examples, which run, and without what it says of earlier states: the second column of ``what | before | now``."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    head, mark, changes = text.partition("| what | before | now |")
    return head + mark + re.sub(r"^(\|[^|\n]*\|)[^|\n]*\|", r"\1", changes, flags=re.MULTILINE)


def words_of(text: str) -> set[str]:
    return set(re.findall(r"\w+", text))


def resolves(dotted: str) -> bool:
    """Whether a dotted name leads to a module of ours or to something in one."""
    try:
        pkgutil.resolve_name(dotted)
    except (ImportError, AttributeError):
        return False
    return True


def leads_somewhere(page: Path, link: str) -> bool:
    """Whether a relative link has its file, and its ``#anchor`` a heading there."""
    path, _, anchor = link.partition("#")
    target = page.parent / path if path else page
    if not anchor or not target.is_file():
        return target.exists()
    headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
    return anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def lost(page: Path) -> list[str]:
    """Files, links and names in a page that are nowhere in the repository."""
    text = prose(page)
    links = [link for link in re.findall(r"\]\(([^)\s]+)", text) if "://" not in link]
    found = [link for link in links if not leads_somewhere(page, link)]
    for quoted in sorted(set(re.findall(r"`([^`\n]+)`", text))):
        path, _, member = quoted.partition("::")
        if _PATH.fullmatch(path):
            there = any((base / path).exists() for base in (page.parent, ROOT, SOURCE)) or path.startswith(WRITTEN)
            alone = "/" not in path.rstrip("/")
            # A file of a user's or of a run is not in the repository, but the code names it.
            in_code = not path.endswith(".py") and path.rstrip("/") in CODE
            known = alone and (in_code or any(page.parent.rglob(path)) or any(SOURCE.rglob(path)))
            if not (there or known) or (member and member not in WORDS):
                found.append(quoted)
        elif _NAME.fullmatch(quoted):
            bare = quoted.lstrip("@").partition("(")[0]
            is_code = bool(re.search(r"[_.]|[a-z][A-Z]", bare)) or quoted.endswith(")")
            if is_code and not (resolves(bare) if bare.startswith("astune.") else words_of(bare) <= WORDS):
                found.append(quoted)
    return found


@pytest.mark.parametrize(
    "page", [*HANDWRITTEN, ROOT / "CHANGELOG.md"], ids=lambda page: page.relative_to(ROOT).as_posix()
)
def test_every_file_link_and_name_in_a_page_exists(page: Path) -> None:
    assert lost(page) == []


@pytest.mark.parametrize(
    "stale",
    [
        "`backbone/arithmetic.py`",
        "`data/hub.py`",
        "`origin_of`",
        "`astune.data.base`",
        "`x.py::y`",
        "[a](gone.md)",
        "[a](#gone)",
    ],
)
def test_what_is_gone_is_found(stale: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"`adapter.py`, `Backbone.fit(length)` and {stale}\n", encoding="utf-8")
    assert len(lost(page)) == 1


def test_every_test_named_in_the_docs_exists() -> None:
    named = {
        (page, *reference)
        for page in PAGES
        for reference in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page.read_text(encoding="utf-8"))
    }
    assert len(named) > 15
    for page, file, function in named:
        path = ROOT / file
        assert path.is_file(), f"{page.name} names {file}"
        assert f"def {function}(" in path.read_text(encoding="utf-8"), f"{page.name} names {file}::{function}"
