"""What the service counts of itself, for Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from collections.abc import Iterable

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Counters of one service, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = own = CollectorRegistry()
        self.requests = Counter("astune_requests", "Requests answered.", ("method", "route", "status"), registry=own)
        self.seconds = Histogram(
            "astune_request_seconds",
            "From a request's first byte to its answer.",
            ("route",),
            registry=own,
            buckets=_SECONDS,
        )
        self.rejected = Counter(
            "astune_rejected", "Requests refused before anything was computed.", ("reason",), registry=own
        )
        self.undecodable = Counter("astune_decode_failures", "Recordings that could not be read.", registry=own)
        self.gone = Counter("astune_clients_gone", "Requests whose client left before the answer.", registry=own)
        self.queue = Gauge("astune_queue_rows", "Windows that wait for the model.", registry=own)
        self.held = Gauge("astune_places_held", "Places of the queue that requests hold.", registry=own)
        self.adapters = Gauge("astune_adapters", "Adapters that are served.", registry=own)
        self.broken = Gauge("astune_adapters_broken", "Adapters that could not be loaded.", registry=own)
        self.stuck = Gauge(
            "astune_decoders_stuck", "Decoding threads that went past their time and do not stop.", registry=own
        )
        self._batches = Histogram("astune_batch_rows", "Windows of a batch.", registry=own, buckets=_ROWS)
        self._computing = Histogram("astune_batch_seconds", "Computing a batch.", registry=own, buckets=_SECONDS)
        self._waits = Histogram("astune_wait_seconds", "Windows waiting for the model.", registry=own, buckets=_SECONDS)

    def waited(self, seconds: Iterable[float]) -> None:
        """Count how long rows waited.

        Args:
            seconds: seconds of each.
        """
        for one in seconds:
            self._waits.observe(one)

    def computed(self, rows: int, seconds: float) -> None:
        """Count a batch.

        Args:
            rows: number of rows in the batch.
            seconds: seconds that it took.
        """
        self._batches.observe(rows)
        self._computing.observe(seconds)

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self.registry)
