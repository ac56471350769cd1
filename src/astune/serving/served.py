"""An adapter that is served."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from astune.adapter_info import AdapterInfo
    from astune.serving.engines import Engine


@dataclass(eq=False)
class Served:
    """An adapter that is served."""

    info: AdapterInfo
    engine: Engine
    handle: Any
    """The engine's handle of the adapter; it works for as long as somebody holds it."""
    own_name: str
    """Under which the engine knows it."""
    path: str

    def record(self) -> dict[str, Any]:
        """What clients see of it, as JSON."""
        return {**self.info.record(), "seconds": self.info.seconds, "runtime": self.engine.runtime}
