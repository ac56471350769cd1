"""Which adapter processes which input."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from astune.errors import ConfigError
from astune.inference.inputs import is_single, sources
from astune.inference.windows import Hearing, Windows
from astune.plurals import number_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from astune.inference.inputs import Input
    from astune.inference.loaded_adapter import LoadedAdapter
    from astune.inference.pieces import Assigned

AdapterNames = str | Iterable[str]
"""One adapter for all inputs, or one for each of them."""


@dataclass(frozen=True)
class Hearers:
    """The adapters of one call, looked up when it begins."""

    every: tuple[LoadedAdapter, ...]
    """One for each input; a single one for all of them."""
    one_for_all: bool

    @classmethod
    def of(
        cls,
        inputs: Input | Iterable[Input],
        names: AdapterNames | None,
        active: LoadedAdapter,
        named: Callable[[str], LoadedAdapter],
    ) -> Hearers:
        """Look up the adapters of one call.

        Args:
            inputs: see :meth:`astune.Predictor.predict`.
            names: one name for all inputs, or one for each; by default the active adapter.
            active: the active adapter.
            named: finds an adapter.

        Returns:
            The adapters.

        Raises:
            ConfigError: an unknown name, or more or fewer names than inputs.
        """
        if names is None:
            return cls((active,), one_for_all=True)
        if isinstance(names, str):
            return cls((named(names),), one_for_all=True)
        if not isinstance(names, Iterable):
            raise ConfigError(f"adapter_names={names!r}: give a name, or a list with one name for each input")
        given = tuple(names)
        strange = [name for name in given if not isinstance(name, str)]
        if strange:
            raise ConfigError(f"adapter_names has {strange[0]!r}; give a name, or a list with one name for each input")
        known = {name: named(name) for name in dict.fromkeys(given)}
        found = cls(tuple(known[name] for name in given), one_for_all=False)
        if is_single(inputs):
            found.refuse_other_count(1)
        elif isinstance(inputs, Sequence):
            found.refuse_other_count(len(inputs))
        return found

    @property
    def adapters(self) -> tuple[LoadedAdapter, ...]:
        """The adapters, each of them once."""
        return tuple(dict.fromkeys(self.every))

    def hearings(self, window: float | None = None, hop: float | None = None) -> dict[LoadedAdapter, Hearing]:
        """How each adapter processes its inputs.

        Args:
            window: length of the windows in seconds; by default that of each adapter's input.
            hop: seconds from one window to the next; by default the length of a window.

        Returns:
            Its windows, and how they become features.

        Raises:
            ConfigError: an adapter cannot process such windows.
        """
        found = {}
        for adapter in self.adapters:
            try:
                found[adapter] = Hearing(Windows.of(adapter.front_end, window, hop), adapter.features)
            except ConfigError as fault:
                if len(self.adapters) == 1:
                    raise
                raise ConfigError(f"{fault} (adapter {adapter.name!r})") from fault
        return found

    def assigned(
        self,
        inputs: Input | Iterable[Input],
        hearings: dict[LoadedAdapter, Hearing],
        sampling_rate: float | None,
        *,
        beginning: bool,
    ) -> Iterator[Assigned]:
        """Look at inputs, one by one.

        Args:
            inputs: see :meth:`astune.Predictor.predict`.
            hearings: the result of :meth:`hearings`.
            sampling_rate: rate in Hz of waveforms without their own.
            beginning: whether only the first window of each input is used.

        Yields:
            Each input, and how the adapters process it.

        Raises:
            ConfigError: an input cannot be used, or there are more or fewer names than inputs.
        """
        seconds = max((one.windows.window for one in hearings.values()), default=0.0) if beginning else None
        number = 0
        for number, source in enumerate(sources(inputs, sampling_rate, seconds), 1):
            if self.one_for_all:
                yield source, hearings[self.every[0]]
            elif number <= len(self.every):
                yield source, hearings[self.every[number - 1]]
            else:
                raise ConfigError(
                    f"adapter_names has {number_of(len(self.every), 'name')} and there are more inputs; {_EACH}"
                )
        self.refuse_other_count(number)

    def refuse_other_count(self, inputs: int) -> None:
        """Refuse inputs without an adapter, and names without an input.

        Args:
            inputs: number of inputs.

        Raises:
            ConfigError: there are more or fewer names.
        """
        if not self.one_for_all and inputs != len(self.every):
            names = number_of(len(self.every), "name")
            raise ConfigError(f"adapter_names has {names} for {number_of(inputs, 'input')}; {_EACH}")


_EACH = "give one name for all of them, or a list with one for each"
