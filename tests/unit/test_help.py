"""The help of every command: short and long, in panels, with nothing cut off in a narrow terminal."""

from __future__ import annotations

import re
import sys

import pytest
from typer.main import get_command

from astune.cli import PANELS, VERBS, app, main
from astune.cli.old_names import OLD_NAMES, with_new_names

GROUPS = {"data": ("check", "download", "layouts")}
COMMANDS = [
    words for verb in VERBS for words in ([(verb, name) for name in GROUPS[verb]] if verb in GROUPS else [(verb,)])
]


def shown(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: int = 80
) -> str:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys, "argv", ["astune", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in (0, None)
    return capsys.readouterr().out


def command_of(words: tuple[str, ...]) -> object:
    found = get_command(app)
    for word in words:
        found = found.commands[word]  # type: ignore[attr-defined]
    return found


def options_of(words: tuple[str, ...]) -> set[str]:
    found = command_of(words)
    return {name for one in found.params for name in (*one.opts, *one.secondary_opts) if name.startswith("--")}  # type: ignore[attr-defined]


def test_every_command_is_looked_at() -> None:
    groups = {verb: set(command_of((verb,)).commands) for verb in GROUPS}  # type: ignore[attr-defined]
    assert groups == {verb: set(names) for verb, names in GROUPS.items()}
    assert set(get_command(app).commands) == set(VERBS)  # type: ignore[attr-defined]


@pytest.mark.parametrize("columns", [60, 80])
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_nothing_is_cut_off(
    words: tuple[str, ...], columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    full = shown((*words, "--help"), monkeypatch, capsys, columns)
    short = shown((*words, "-h"), monkeypatch, capsys, columns)
    for text in (full, short):
        assert "…" not in text
        boxed = [line for line in text.splitlines() if line.startswith(("│", "╭", "╰"))]
        assert boxed
        assert {len(line) for line in boxed} == {columns}
    names = set(re.findall(r"--[a-z0-9][a-z0-9-]*", full))
    assert options_of(words) <= names
    assert set(re.findall(r"│ (?:-\w, )?(--[a-z0-9-]+)", short)) <= options_of(words) | {"--help"}
    assert "Example" in full
    assert f"astune {' '.join(words)}" in full.partition("Example")[2]


@pytest.mark.parametrize("columns", [60, 80])
@pytest.mark.parametrize("words", [(), *((verb,) for verb in GROUPS)], ids=lambda words: " ".join(("astune", *words)))
def test_a_group_shows_each_command_once_in_a_panel(
    words: tuple[str, ...], columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = shown((*words, "--help"), monkeypatch, capsys, columns)
    assert "…" not in text
    assert "<bool>" not in text
    assert {len(line) for line in text.splitlines() if line.startswith(("│", "╭", "╰"))} == {columns}
    expected = GROUPS[words[0]] if words else VERBS
    assert sorted(re.findall(r"^│ ([a-z][a-z-]*)  +\S", text, re.MULTILINE)) == sorted(expected)
    assert sorted(verb for verbs in PANELS.values() for verb in verbs) == sorted(VERBS)


@pytest.mark.parametrize("verb", ["train", "compare", "predict", "reproduce", "embed"])
def test_short_help_has_the_everyday_options_alone(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    short = shown((verb, "-h"), monkeypatch, capsys)
    full = shown((verb, "--help"), monkeypatch, capsys)
    assert len(short.splitlines()) < len(full.splitlines())
    counted = re.search(rf"(\d+) more options: astune {verb} --help", short)
    assert counted
    rows = r"│ (?:-\w, )?--[a-z]"
    assert int(counted[1]) == len(re.findall(rows, full)) - len(re.findall(rows, short))


def test_everyday_options_exist() -> None:
    for words in COMMANDS:
        found = command_of(words)
        assert found.everyday <= {one.name for one in found.params}  # type: ignore[attr-defined]


def test_required_options_are_marked(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(shown(("train", "-h"), monkeypatch, capsys).replace("│", " ").split())
    assert "--output-dir PATH" in text
    assert text.count("[required, here or in --config]") == 2
    assert "[required]" in shown(("review", "-h"), monkeypatch, capsys)


def test_outputs_have_a_short_name() -> None:
    for words in COMMANDS:
        for one in command_of(words).params:  # type: ignore[attr-defined]
            if one.name in {"output", "output_dir"}:
                assert "-o" in one.opts, words


@pytest.mark.parametrize(
    ("verb", "old", "new"), [(verb, old, new) for verb, names in OLD_NAMES.items() for old, new in names.items()]
)
def test_old_names_stand_for_options_that_exist(
    verb: str, old: str, new: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert new in options_of((verb,))
    assert old not in options_of((verb,))
    replaced = with_new_names([old, "1", f"{old}=2", "--", old], OLD_NAMES[verb])
    assert replaced == [new, "1", f"{new}=2", "--", old]
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        f"warning: {old} is now called {new}; the old name will stop working in the next release"
    ]


def test_an_old_name_works_and_is_not_in_the_help(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "--classes" not in shown(("methods", "--help"), monkeypatch, capsys)
    new = shown(("methods", "--num-labels", "7", "--json"), monkeypatch, capsys)
    monkeypatch.setattr(sys, "argv", ["astune", "methods", "--classes", "7", "--json"])
    with pytest.raises(SystemExit):
        main()
    captured = capsys.readouterr()
    assert captured.out == new
    assert captured.err.startswith("warning: --classes is now called --num-labels")


def test_names_of_methods_are_whole_in_narrow_terminals(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from astune.methods import PRESETS

    for columns in (60, 80):
        text = shown(("methods",), monkeypatch, capsys, columns)
        assert "…" not in text
        for name in PRESETS:
            assert re.search(rf"(?m)^│ {re.escape(name)} ", text), (columns, name)


def test_layouts_are_listed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from astune.data import LAYOUTS

    text = shown(("data", "layouts"), monkeypatch, capsys)
    for name in LAYOUTS:
        assert f"{name}:PATH" in text
