"""Public data sets, fetched whole or not at all."""

from astune.data.download.published import SOURCES, download

__all__ = ["SOURCES", "download"]
