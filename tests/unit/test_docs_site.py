"""The documentation site: generated pages are complete, and links lead somewhere."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from astune.cli import VERBS

markdown = pytest.importorskip("markdown", reason="needs the extra [docs]")
AutorefsExtension = pytest.importorskip("mkdocs_autorefs", reason="needs the extra [docs]").AutorefsExtension
ROOT = Path(__file__).parents[2]
SITE = runpy.run_path(str(ROOT / "docs" / "hooks" / "site.py"))


def test_every_public_name_is_on_the_api_page() -> None:
    page = SITE["api_page"]()
    names = SITE["public_names"]()
    assert {"astune.Predictor", "astune.train", "astune.data.load_data"} <= set(names)
    assert [name for name, home in names.items() if f"::: {home}\n" not in page and f"`{name}`" not in page] == []


def test_every_command_has_a_section() -> None:
    page = SITE["cli_page"]()
    assert [verb for verb in VERBS if f"## astune {verb}" not in page] == []
    assert "| <code>--num-train-epochs N</code> |" in page


@pytest.mark.parametrize("name", ["cli_page", "http_page", "gallery_page", "tree_page"])
def test_generated_pages_show_brackets_as_they_are(name: str) -> None:
    """Of ``[at least 1] [default: 6]`` Markdown would make a link from the first to the second."""
    shown = markdown.markdown(SITE[name](), extensions=["tables", AutorefsExtension()])
    assert "<autoref" not in shown
    assert "\\|" not in shown
    if name == "cli_page":
        assert "[at least 1] [default: 6]" in shown
        assert "<code>--pooling all&#124;cls&#124;special</code>" in shown


def test_every_module_is_in_the_tree() -> None:
    page = SITE["tree_page"]()
    assert [path for path in (ROOT / "src" / "astune").rglob("*.py") if f"| `{path.name}` |" not in page] == []


def test_every_picture_is_in_the_gallery() -> None:
    pictures = list((ROOT / "docs" / "results" / "reports").glob("*.png"))
    page = SITE["gallery_page"]()
    assert pictures
    assert [path.name for path in pictures if f"(reports/{path.name})" not in page] == []


def test_the_routes_of_the_service_are_on_the_http_page() -> None:
    assert "## POST /v1/classify" in SITE["http_page"]()


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("[a](../../CONTRIBUTING.md#x)", "[a](https://repository.example/astune/blob/main/CONTRIBUTING.md#x)"),
        ("[a](serve.md)", "[a](serve.md)"),
        ("[a](gone.md)", "[a](gone.md)"),
    ],
)
def test_only_links_to_the_repository_are_replaced(link: str, expected: str) -> None:
    assert (
        SITE["repository_links"](link, "guides/peft.md", {"guides/serve.md"}, "https://repository.example/astune")
        == expected
    )


def test_short_options_are_not_broken_at_their_hyphens() -> None:
    shown = SITE["unbroken_options"]("<code>--make-folds N</code> <code>a--b</code> <code>-o</code>")
    assert shown == '<code class="option">--make-folds N</code> <code>a--b</code> <code class="option">-o</code>'


def test_roles_of_docstrings_are_not_shown() -> None:
    assert SITE["without_roles"]("See :func:<code>a</code>: 3") == "See <code>a</code>: 3"
