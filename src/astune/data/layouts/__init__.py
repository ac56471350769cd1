"""Every data layout, a file each.

The order of these lines is the order in which a bare path is tried: special layouts first.
"""

from astune.data.layouts import esc50 as esc50  # isort: skip
from astune.data.layouts import urbansound8k as urbansound8k  # isort: skip
from astune.data.layouts import speech_commands as speech_commands  # isort: skip
from astune.data.layouts import fluent_speech as fluent_speech  # isort: skip
from astune.data.layouts import hub as hub  # isort: skip
from astune.data.layouts import table as table  # isort: skip
from astune.data.layouts import audacity as audacity  # isort: skip
from astune.data.layouts import raven as raven  # isort: skip
from astune.data.layouts import crowsetta as crowsetta  # isort: skip
from astune.data.layouts import folder as folder  # isort: skip
from astune.data.layouts.base import LAYOUTS, Layout, load_data

__all__ = ["LAYOUTS", "Layout", "load_data"]
