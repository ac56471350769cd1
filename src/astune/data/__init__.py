"""Labelled audio: its clips, splits and folds."""

from astune.data.clip import Clip
from astune.data.dataset import AudioDataset, DataRecipe, Split
from astune.data.layouts import LAYOUTS, Layout, load_data
from astune.data.recordings import PassedOver

__all__ = ["LAYOUTS", "AudioDataset", "Clip", "DataRecipe", "Layout", "PassedOver", "Split", "load_data"]
