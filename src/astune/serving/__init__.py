"""One process that serves many adapters over HTTP: ``astune serve``, and :func:`create_app` for a server of one's own."""

from astune.serving.app import create_app
from astune.serving.settings import ServeSettings

__all__ = ["ServeSettings", "create_app"]
