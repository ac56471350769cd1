"""The examples of the layouts under short names, and tables of the Hugging Face format."""

from __future__ import annotations

from typing import Any

import pytest

from astune.data.layouts.esc50 import Esc50
from astune.data.layouts.example import encoded_tone as encoded
from astune.data.layouts.example import write_text, write_tone
from astune.data.layouts.fluent_speech import FluentSpeech
from astune.data.layouts.folder import Folder
from astune.data.layouts.hub import HuggingFace, example_table
from astune.data.layouts.speech_commands import SpeechCommands
from astune.data.layouts.table import Table
from astune.data.layouts.urbansound8k import UrbanSound8K

__all__ = [
    "encoded", "hub_table", "write_csv", "write_esc50", "write_fluent_speech", "write_folder", "write_hub",
    "write_speech_commands", "write_text", "write_tone", "write_urbansound8k",
]  # fmt: skip

write_csv = Table().write_example
write_esc50 = Esc50().write_example
write_fluent_speech = FluentSpeech().write_example
write_folder = Folder().write_example
write_hub = HuggingFace().write_example
write_speech_commands = SpeechCommands().write_example
write_urbansound8k = UrbanSound8K().write_example


def hub_table(clips: int = 6, offset: int = 0) -> Any:  # noqa: ANN401 - a Dataset of an optional library
    """Two classes in Hugging Face's format; a third name that no clip has."""
    return example_table(pytest.importorskip("datasets"), clips, offset)
