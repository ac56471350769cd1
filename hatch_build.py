"""Makes the project's description from README.md. Relative links and pictures become addresses.

A package index shows the description without the files that a relative link needs.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

BRANCH = "main"
_FENCE = re.compile(r"^(?:```|~~~).*?^(?:```|~~~)[ \t]*$", re.DOTALL | re.MULTILINE)
_ELSEWHERE = r"(?!\w+:|//|#)"  # an address, or a heading of the same page, stays as it is
_TARGETS = (
    re.compile(rf"(\]\(){_ELSEWHERE}([^)\s]+)"),  # [text](target) and ![text](target)
    re.compile(rf"(^\[[^\]\n]+\]:[ \t]+){_ELSEWHERE}(\S+)", re.MULTILINE),  # [name]: target
    re.compile(rf"((?:src|srcset|href)=\"){_ELSEWHERE}([^\"\s]+)"),
)
_PICTURES = {".gif", ".jpeg", ".jpg", ".png", ".svg", ".webp"}


def absolute(text: str, home: str) -> str:
    """Replace relative targets in Markdown, code blocks left out.

    Args:
        text: Markdown.
        home: address of the repository.

    Returns:
        The text with addresses: ``home/blob/main/...`` of pages and ``home/raw/main/...`` of pictures.
    """
    parts, at = [], 0
    for fence in _FENCE.finditer(text):
        parts += [_prose(text[at : fence.start()], home), fence[0]]
        at = fence.end()
    return "".join([*parts, _prose(text[at:], home)])


def _prose(text: str, home: str) -> str:
    def address(match: re.Match[str]) -> str:
        kind = "raw" if Path(match[2]).suffix.lower() in _PICTURES else "blob"
        return f"{match[1]}{home}/{kind}/{BRANCH}/{match[2].removeprefix('./')}"

    for pattern in _TARGETS:
        text = pattern.sub(address, text)
    return text


class ReadmeHook(MetadataHookInterface):
    """Gives the wheel and the source archive their description."""

    PLUGIN_NAME = "custom"

    # Without typing_extensions, which is not there when pip builds the package.
    def update(self, metadata: dict[str, Any]) -> None:  # type: ignore[explicit-override]
        """Add the description.

        Args:
            metadata: the table ``project`` of pyproject.toml.
        """
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        home = metadata["urls"]["Homepage"].rstrip("/")
        metadata["readme"] = {"content-type": "text/markdown", "text": absolute(text, home)}
