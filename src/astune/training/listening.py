"""The audio of a run, read before training: its features, and which clips are broken, cut or suspicious."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from astune.backbone.load import load_front_end
from astune.data.balance import balance_notices
from astune.data.splits import SPLITS
from astune.features import FrontEnd, build_cache
from astune.plurals import number_of
from astune.training.check import refuse_untrained
from astune.training.materials import materials_of
from astune.training.recipe import input_length

if TYPE_CHECKING:
    from astune.data import AudioDataset, Split
    from astune.features import FeatureCache
    from astune.training.check import Checked
    from astune.training.config import TrainConfig


@dataclass(frozen=True)
class Listened:
    """The features of a run's clips, and notes about its recordings."""

    features: FeatureCache
    split: Split
    """Without the clips that cannot be read."""
    notices: list[str]
    """What the user should know: what was passed over, how the clips were divided, which are left out, cut or suspicious."""


def listen_to(
    dataset: AudioDataset,
    split: Split,
    front_end: FrontEnd,
    *,
    skip_broken: bool = False,
    balanced: bool = False,
    quiet: bool = False,
) -> Listened:
    """Compute the features of all clips, or find them in the cache, and say what is known of the clips.

    Args:
        dataset: the data.
        split: of them.
        front_end: how audio becomes features.
        skip_broken: leave out the files that cannot be read, instead of raising.
        balanced: whether the run makes up for classes of different sizes.
        quiet: no progress bar.

    Returns:
        Features, split and notices.

    Raises:
        AudioError: files cannot be read.
        DataError: a class loses all its training clips.
        OutputError: the cache cannot be written.
    """
    features = build_cache(dataset.clips, front_end, skip_broken=skip_broken, quiet=quiet)
    notices = [*dataset.notices, *([f"Note: {split.notice}"] if split.notice else [])]
    notices += balance_notices(dataset, split.train, balanced=balanced)
    broken = features.broken
    if broken:
        train, validation, test = (tuple(clip for clip in split.named(name) if clip not in broken) for name in SPLITS)
        split = replace(split, train=train, validation=validation, test=test)
        verb = "is" if len(broken) == 1 else "are"
        notices.append(
            f"Note: {len(broken):,} of {number_of(len(dataset.clips), 'audio file')} cannot be read and {verb} left out: "
            f"{broken[min(broken)]}{' and others' if len(broken) > 1 else ''}"
        )
        refuse_untrained(dataset, split)
    used = (clip for name in SPLITS for clip in split.named(name))
    return Listened(features, split, notices + features.notices(used, [clip.name for clip in dataset.clips]))


def listen_as_trained(config: TrainConfig, checked: Checked, *, quiet: bool = False) -> Listened:
    """Listen to the clips, and to background noise, as :func:`astune.training.loop.train` will; it then finds the features in the cache.

    Args:
        config: of the run.
        checked: the resolved configuration, from :func:`astune.training.check.check`.
        quiet: no progress bar.

    Returns:
        Features, split and notices.

    Raises:
        AudioError: files cannot be read.
        ConfigError: clips would be shifted by more than the input.
        DataError: a class loses all its training clips.
        OutputError: the cache cannot be written.
    """
    length = input_length(config, checked.dataset, checked.split, quiet=quiet)
    front_end, dataset = load_front_end(config.backbone, length), checked.dataset
    listened = listen_to(
        dataset, checked.split, front_end, skip_broken=config.skip_broken, balanced=config.balances_classes, quiet=quiet
    )
    drawn_from = materials_of(config, dataset, listened.split, listened.features, front_end, quiet=quiet)
    return replace(listened, notices=[*listened.notices, *drawn_from.notices])
