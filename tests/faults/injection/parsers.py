"""What others see of a document: read by a parser of its format, and never by a pattern of ours."""

from __future__ import annotations

import re
import subprocess
import unicodedata
from html.parser import HTMLParser
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt
from typing_extensions import override

from astune.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

_OURS = frozenset((
    "html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "b", "strong", "u", "em", "code", "pre", "ul", "ol", "li", "div",
    "table", "caption", "thead", "tbody", "tr", "th", "td", "small", "figure", "img", "figcaption", "details", "summary", "sup", "hr",
))  # fmt: skip
_EMPTY = frozenset(("meta", "img", "hr"))
_ATTRIBUTES = frozenset(("style", "class", "id", "lang", "charset", "name", "content", "alt", "src"))
_HOLDS_TEXT = frozenset(["title", "h1", "h2", "p", "li", "th", "td", "caption", "figcaption", "summary", "pre"])
_BARE_ADDRESS = re.compile(r"(?<!\\)(?:https?|ftp)://|(?<![\w\\])www\.", re.IGNORECASE)


class Page(HTMLParser):
    """The texts of a page by the element that holds them; an element or an attribute that is not ours fails.

    Args:
        html: of the page.
    """

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.texts: list[tuple[str, str]] = []
        self._open: list[tuple[str, list[str]]] = []
        self.feed(html)
        self.close()
        assert self._open == []

    @override
    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        assert tag in _OURS, f"<{tag}> is not ours"
        assert {name for name, _ in attrs} <= _ATTRIBUTES, f"attributes of <{tag}> are not ours: {attrs}"
        for name, value in attrs:
            if name == "alt":
                self.texts.append(("alt", value or ""))
            elif name == "src":
                assert str(value).startswith(("data:image/png;base64,", "file-of-ours-"))
        if tag not in _EMPTY:
            self._open.append((tag, []))

    @override
    def handle_startendtag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    @override
    def handle_endtag(self, tag: str) -> None:
        opened, parts = self._open.pop()
        assert opened == tag
        text = "".join(parts)
        if tag in _HOLDS_TEXT:
            self.texts.append((tag, text.strip("\n") if tag == "pre" else text.strip("\n ")))
        elif self._open:
            self._open[-1][1].append(text)

    @override
    def handle_data(self, data: str) -> None:
        if self._open:
            self._open[-1][1].append(data)

    @override
    def handle_comment(self, data: str) -> None:
        assert data.strip() in {
            "written by astune; text outside of these two lines is kept",
            "end of what astune wrote",
        }

    def of(self, *tags: str) -> list[str]:
        """Texts of some elements."""
        return [text for tag, text in self.texts if tag in tags]


def rendered(markdown: str) -> Page:
    """Markdown as sites show it, with tables, and with HTML let through. Bare addresses, which some sites make links, fail."""
    # what is code, and what HTML comments hold, becomes no link
    prose = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)|^```.*?^```", "", markdown, flags=re.DOTALL | re.MULTILINE)
    assert not _BARE_ADDRESS.search(prose), f"a bare address becomes a link: {_BARE_ADDRESS.search(prose)}"
    parser = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    return Page(f"<div>{parser.render(markdown)}</div>")


def shown(text: str, *, forged: str = "error: forged") -> list[str]:
    """Lines of what a terminal got: nothing that it would obey, and no line that somebody else began."""
    assert printable(text, lines=True) == text, f"a terminal would obey {text!r}"
    lines = text.split("\n")
    assert not [line for line in lines if line.startswith(forged)]
    return lines


def _without_marks(text: str) -> str:
    """A text as ``pdftotext`` gives it back: fonts have signs of their own for some letters, and spaces are not counted."""
    same = {
        "’": "'",
        "”": '"',
        "“": '"',
        "‘": "`",
        "ˆ": "^",
        "˜": "~",
        "–": "-",
        "ﬁ": "fi",
        "ﬂ": "fl",
        "ﬀ": "ff",
        "ﬃ": "ffi",
    }
    text = unicodedata.normalize("NFKD", "".join(same.get(letter, letter) for letter in text))
    # accents stand before their letters in the file, and an underscore is a line that is drawn
    return "".join(
        letter for letter in text if not letter.isspace() and letter != "_" and not unicodedata.combining(letter)
    )


def typeset(bodies: Iterable[str], folder: Path) -> list[str]:
    """Texts of LaTeX documents' pages, without spaces and underscores. LaTeX may run nothing, and read nothing but its own files."""
    pages = "\n\\clearpage\n".join(bodies)
    # as little as the tables say they need
    head = "\\documentclass{article}\\usepackage{booktabs}\\pagestyle{empty}\\pdfpagewidth=400cm\\textwidth=390cm\\columnwidth=390cm\n"
    (folder / "page.tex").write_text(f"{head}\\begin{{document}}\n{pages}\n\\end{{document}}\n", encoding="utf-8")
    command = ["pdflatex", "-no-shell-escape", "-halt-on-error", "-interaction=nonstopmode", "-recorder", "page.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0, [line for line in done.stdout.splitlines() if line.startswith(("!", "l."))]
    read = {
        line.split(" ", 1)[1] for line in (folder / "page.fls").read_text().splitlines() if line.startswith("INPUT")
    }
    assert not [name for name in read if name.startswith("/etc/passwd")]
    assert not (folder / "hacked").exists()
    command = ["pdftotext", "-raw", "page.pdf", "-"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return [_without_marks(page) for page in done.stdout.split("\f")]


def times_typeset(text: str, page: str) -> int:
    """How often a page of :func:`typeset` holds a text."""
    return page.count(_without_marks(text))


def words_of(shell: str, words: Iterable[str]) -> list[str]:
    """What a shell makes of words: the arguments of a command."""
    script = "".join(f"printf '%s\\0' {word}\n" for word in words)
    done = subprocess.run([shell], input=script.encode(), capture_output=True, check=False)
    return done.stdout.decode(errors="surrogateescape").split("\0")[:-1]
