"""Labelled audio: the layouts it is found in, its splits and folds.

The order of these lines is the order in which a bare path is tried: special layouts first.
"""

from astune.data import esc50 as esc50  # isort: skip
from astune.data import urbansound8k as urbansound8k  # isort: skip
from astune.data import speech_commands as speech_commands  # isort: skip
from astune.data import fluent_speech as fluent_speech  # isort: skip
from astune.data import hub as hub  # isort: skip
from astune.data import table as table  # isort: skip
from astune.data import folder as folder  # isort: skip
from astune.data.base import AudioDataset, DataRecipe, Split
from astune.data.clip import Clip
from astune.data.layout import LAYOUTS, Layout, load_data
from astune.data.recordings import PassedOver

__all__ = ["LAYOUTS", "AudioDataset", "Clip", "DataRecipe", "Layout", "PassedOver", "Split", "load_data"]
