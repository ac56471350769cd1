"""Sizes of methods on backbones at input lengths, without any weights."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from astune.architecture import Architecture
from astune.backbone import load_config
from astune.counting import Count, count
from astune.data.dataset import input_frames
from astune.experiments.baseline import STATISTICS
from astune.methods.full import FullFineTuning
from astune.names import PUBLISHED_BACKBONE
from astune.training.check import split_of
from astune.training.recipe import input_length

if TYPE_CHECKING:
    from astune.experiments.sources import Source
    from astune.methods import Method
    from astune.training.config import TrainConfig


class Shapes:
    """Sizes of methods on backbones at input lengths; each is counted once."""

    def __init__(self) -> None:
        self._architecture = cache(self._read)
        self.count = cache(self._count)
        self._lengths: dict[tuple[object, ...], int] = {}

    @staticmethod
    def _read(backbone: str) -> Architecture:
        # Asking the hub for its configuration would make a dry run wait for a network.
        return Architecture() if backbone == PUBLISHED_BACKBONE else Architecture.of(load_config(backbone))

    def width(self, backbone: str) -> int:
        """Width of a backbone.

        Args:
            backbone: name.
        """
        return self._architecture(backbone).hidden_size

    def _count(self, method: Method, classes: int, backbone: str, max_length: int) -> Count:
        return count(method, classes, replace(self._architecture(backbone), max_length=max_length))

    def length(self, config: TrainConfig, data: Source) -> int:
        """Input length of a run, which decides how many positions there are.

        Where neither the settings nor the data set's recipe state it, it is measured as training measures it. Data that are not on this
        machine cannot be measured; the longest length that training would choose by itself is used for them.

        Args:
            config: of the run.
            data: what it trains on.

        Returns:
            Frames of 10 ms.
        """
        stated = config.max_length or data.recipe.max_length
        if stated is not None:
            return stated
        if data.dataset is None:
            return input_frames([])
        # Few-shot draws change nothing in it; fold and seed only do where the clips are limited.
        drawn = (config.limit_clips, config.fold, config.seed) if config.limit_clips else ()
        key = (data.source, data.options.model_dump_json(), config.selection, *drawn)
        if key not in self._lengths:
            whole = config.model_copy(update={"shots": None})
            self._lengths[key] = input_length(whole, *split_of(data.dataset, whole), quiet=True)
        return self._lengths[key]

    def size(self, method: Method | None, config: TrainConfig, data: Source) -> tuple[int, float, int]:
        """Size of a run.

        Args:
            method: what is trained; None for the baseline.
            config: of the run.
            data: what it trains on.

        Returns:
            Trained parameters as the paper counts them, their percentage of full fine-tuning's, and all trained parameters.
        """
        length = self.length(config, data)
        if method:
            found = self.count(method, data.classes, config.backbone, length)
            return found.parameters, found.percent_of_full, found.with_head
        full = self.count(FullFineTuning(), data.classes, config.backbone, length)
        parameters = (STATISTICS + 1) * data.classes
        return parameters, full.percent_of_full * parameters / full.parameters, parameters
