"""One process that serves many adapters over HTTP: ``astune serve``, and :func:`create_app` for a web server of one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from astune.serving.settings import ServeSettings, refuse_missing_packages

if TYPE_CHECKING:
    from astune.serving.app import create_app

__all__ = ["ServeSettings", "create_app"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any name
    if name != "create_app":
        raise AttributeError(f"module 'astune.serving' has no attribute {name!r}")
    refuse_missing_packages()
    from astune.serving.app import create_app

    return create_app
