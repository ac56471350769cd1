"""Hooks of the documentation site: pages made from the code, and links to files that are outside the site."""

from __future__ import annotations

import html
import importlib
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import typer
from mkdocs.structure.files import File, InclusionLevel

from astune.cli import app
from astune.cli.help import meaning_of, name_of, panels_of
from astune.serving.app import create_app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
PUBLIC_MODULES = (
    "astune.backbone",
    "astune.data",
    "astune.export",
    "astune.features",
    "astune.methods",
    "astune.reporting",
    "astune.serving",
)
_LINK = re.compile(r"(\]\()([^)\s]+)(\))")
_OPTION = re.compile(r"<code>(-{1,2}[a-z][^<]{0,24})</code>")
_ROLE = re.compile(r":(?:attr|class|data|func|meth|mod):\s*(<code)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the generated pages to those on disk."""
    for path, text in generated_pages().items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Points links to files outside the site at the repository."""
    known = {file.src_uri for file in files if file.inclusion is not InclusionLevel.EXCLUDED}
    return repository_links(markdown, page.file.src_uri, known, config.repo_url or "")


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Removes the roles of docstrings, such as ``:func:``, which Markdown shows as they are, and keeps short options in one line."""
    del page, config, files
    return unbroken_options(without_roles(html))


def without_roles(page: str) -> str:
    """Removes the names of roles before code.

    Args:
        page: As it was rendered.

    Returns:
        The page without them.
    """
    return _ROLE.sub(r"\1", page)


def unbroken_options(page: str) -> str:
    """Marks short names of options, so that the style keeps each in one line: a browser breaks them at their hyphens.

    Args:
        page: As it was rendered.

    Returns:
        The page with a class at each of them.
    """
    return _OPTION.sub(r'<code class="option">\1</code>', page)


def repository_links(markdown: str, page: str, known: set[str], repository: str) -> str:
    """Replaces relative links whose target exists in the repository but not on the site.

    Args:
        markdown: Text of the page.
        page: Path of the page below ``docs``.
        known: Paths of all files of the site below ``docs``.
        repository: Address of the repository.

    Returns:
        The text with absolute links to the repository.
    """

    def replace(match: re.Match[str]) -> str:
        path, mark, anchor = match[2].partition("#")
        if not path or "://" in path or path.startswith("mailto:"):
            return match[0]
        target = os.path.normpath(Path("docs", page).parent / path)
        if target.removeprefix("docs/") in known or not (ROOT / target).exists():
            return match[0]
        return f"{match[1]}{repository}/blob/main/{target}{mark}{anchor}{match[3]}"

    return _LINK.sub(replace, markdown)


def generated_pages() -> dict[str, str]:
    """The text of every page that is made from the code, by its path below ``docs``."""
    return {
        "reference/api.md": api_page(),
        "reference/cli.md": cli_page(),
        "reference/http.md": http_page(),
        "results/gallery.md": gallery_page(),
        "develop/tree.md": tree_page(),
    }


def public_names() -> dict[str, str]:
    """Every public name and the full name of what it stands for."""
    names = {}
    for module in ("astune", *PUBLIC_MODULES):
        exported = importlib.import_module(module)
        for name in exported.__all__:
            value = getattr(exported, name)
            home = getattr(value, "__module__", None)
            own = isinstance(home, str) and home.startswith("astune.") and getattr(value, "__name__", "") == name
            names[f"{module}.{name}"] = f"{home}.{name}" if own else f"{module}.{name}"
    return names


def api_page() -> str:
    """The reference of the Python API; mkdocstrings fills in the docstrings."""
    lines = ["# Python API", "", "Every public name, with its docstring. Names of `astune` itself come first.", ""]
    shown: dict[str, str] = {}
    for name, home in public_names().items():
        value = getattr(importlib.import_module(name.rpartition(".")[0]), name.rpartition(".")[2])
        if home in shown:
            lines += [f"`{name}` is the same as `{shown[home]}`.", ""]
        elif callable(value):
            shown[home] = name
            lines += [f"::: {home}", ""]
        else:
            lines += [f"## `{name}` {{ #{name} }}", "", f"A constant of type `{type(value).__name__}`.", ""]
    return "\n".join(lines)


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command with its full name, those of groups too."""

    def walk(name: str, command: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - click's and typer's own
        inner = getattr(command, "commands", None)
        if inner is None:
            yield name, command
        for word, below in sorted((inner or {}).items()):
            yield from walk(f"{name} {word}", below)

    yield from walk("astune", typer.main.get_command(app))


def cli_page() -> str:
    """The reference of the command line, with the panels of the help."""
    lines = ["# Command line", "", "Made from the code. `astune COMMAND --help` says the same.", ""]
    for title, command in commands():
        lines += [f"## {title}", "", _plain(command.help or ""), ""]
        context = command.make_context(title, [], resilient_parsing=True)
        for panel, parameters in panels_of(command, context).items():
            lines += [f"**{panel}**", "", "| name | what it does |", "| --- | --- |"]
            lines += [f"| {_cell_of_code(name_of(one, context))} | {_cell(meaning_of(one))} |" for one in parameters]
            lines.append("")
    return "\n".join(lines)


def _cell(text: str) -> str:
    """Text in a cell. Of two notes in brackets, Markdown would make one link."""
    return _plain(text).replace("\n", " ").replace("|", "&#124;").replace("[", "\\[").replace("]", "\\]")


def _cell_of_code(text: str) -> str:
    """Code in a cell: between backticks, Markdown would show how | is written."""
    return f"<code>{_entities(text)}</code>"


def _entities(text: str) -> str:
    return html.escape(text).replace("|", "&#124;")


def _plain(text: str) -> str:
    return text.replace("\b", "").replace("\f", "").replace("<", "&lt;").strip()


def http_page() -> str:
    """The reference of the HTTP interface, from the OpenAPI description of the service."""
    schema = create_app(adapters=["adapter"]).openapi()
    lines = ["# HTTP API", "", "Made from the OpenAPI description. A running service has it at `/openapi.json`.", ""]
    for path, verbs in schema["paths"].items():
        for verb, operation in verbs.items():
            lines += [f"## {verb.upper()} {path}", "", operation.get("description", operation.get("summary", "")), ""]
            lines += ["| status | meaning |", "| --- | --- |"]
            lines += [f"| {code} | {answer['description']} |" for code, answer in operation["responses"].items()]
            body = operation.get("requestBody")
            if body:
                lines += ["", "Request:", "", "```json", json.dumps(body["content"], indent=2), "```"]
            lines.append("")
    return "\n".join(lines)


def gallery_page() -> str:
    """All pictures of the reports, a section for each report."""
    lines = ["# Gallery", "", "The pictures of every report. Each report says what was run.", ""]
    reports = ROOT / "docs" / "results" / "reports"
    for report in sorted(reports.glob("*.md")):
        title = report.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
        lines += [f"## {title}", "", f"[Report with all figures](reports/{report.name})", ""]
        for picture in sorted(reports.glob(f"{report.stem}-*.png")):
            lines += [f"![{picture.stem}](reports/{picture.name})", ""]
    return "\n".join(lines)


def tree_page() -> str:
    """The modules of the package with the first line of their docstrings."""
    lines = ["# Source tree", "", "Every module, with the first sentence of its docstring.", ""]
    package = ROOT / "src" / "astune"
    for folder in sorted({path.parent for path in package.rglob("*.py")}):
        lines += [f"## {folder.relative_to(package.parent).as_posix()}/", "", "| file | what it is |", "| --- | --- |"]
        for path in sorted(folder.glob("*.py")):
            about = re.match(r'(?:#[^\n]*\n)*r?"""(.+?)(?:"""|\n)', path.read_text(encoding="utf-8"))
            parts = about[1].split("``") if about else []  # every second one is code
            text = "".join(_cell_of_code(part) if at % 2 else _entities(part) for at, part in enumerate(parts))
            lines.append(f"| `{path.name}` | {text} |")
        lines.append("")
    return "\n".join(lines)
