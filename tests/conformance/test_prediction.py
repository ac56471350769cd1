"""Every method: the command line and Python label alike, from files and from arrays."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from typer.testing import CliRunner

from astune import Predictor
from astune.cli import app
from tests.conformance.methods_under_test import SPECS, classifier


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Four recordings at 16 kHz: mono and stereo, shorter and longer than the input, float and 16 bits."""
    folder, random = tmp_path_factory.mktemp("clips"), np.random.default_rng(0)
    for number, (channels, samples, subtype) in enumerate(
        [(1, 6_000, "FLOAT"), (2, 20_000, "FLOAT"), (1, 9_000, "PCM_16"), (2, 300, "PCM_24")]
    ):
        sound = random.normal(0, 0.1, (samples, channels)).astype(np.float32)
        soundfile.write(folder / f"{number}.wav", sound, 16_000, subtype)
    return sorted(folder.iterdir())


@pytest.mark.parametrize("spec", SPECS)
def test_files_arrays_and_the_command_line_give_the_same_scores(spec: str, clips: list[Path], tmp_path: Path) -> None:
    model = classifier(spec)
    with torch.no_grad():  # an untrained one may be the identity
        for parameter in model.trained_parameters().values():
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    model.save_pretrained(tmp_path)
    predictor = Predictor(tmp_path)
    from_files = predictor.predict(clips, top_k=None)
    arrays = [soundfile.read(clip, dtype="float32")[0].T for clip in clips]
    assert predictor.predict(arrays, sampling_rate=16_000, top_k=None) == from_files
    outcome = CliRunner().invoke(app, ["predict", str(tmp_path), *map(str, clips), "--top-k", "3", "--json"])
    assert outcome.exit_code == 0
    assert [record["labels"] for record in json.loads(outcome.stdout)] == from_files
    assert Predictor(model).predict(clips, top_k=None) == from_files
