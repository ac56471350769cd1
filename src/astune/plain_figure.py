"""matplotlib's figure, whose text LaTeX never reads; imported when something is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from matplotlib.text import Text
from typing_extensions import override

if TYPE_CHECKING:
    from matplotlib.backend_bases import RendererBase


class PlainFigure(Figure):
    r"""A figure that draws labels and titles as they are, also where a matplotlibrc says ``text.usetex: True``.

    LaTeX would run what is in them, such as ``\input{/etc/passwd}``.
    """

    @override
    def draw(self, renderer: RendererBase) -> None:
        """Draw it.

        Args:
            renderer: the renderer of matplotlib.
        """
        texts: list[Any] = self.findobj(Text)
        for text in texts:
            text.set_usetex(False)
        super().draw(renderer)
