"""Every shape in which AST was published: strides 10, 12, 14 and 16, and the short input of Speech Commands, as fabricated checkpoints.

AST's authors and transformers published 10-10 in several versions, 12-12, 14-14 and 16-16 of AudioSet at 1,024 frames, and 10-10 of Speech
Commands V2 at 128. All of transformers' have a distillation token.
"""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import ASTConfig, ASTForAudioClassification

from astune import AudioClassifier, load_backbone
from astune.counting import count
from tests.parity.test_transformers import SMALL

STRIDES = (10, 12, 14, 16)


def checkpoint(folder: Path, frequency: int, time: int, frames: int) -> Any:  # noqa: ANN401 - transformers leaves its calls untyped
    torch.manual_seed(frequency + time)
    config: Any = ASTConfig(**SMALL, frequency_stride=frequency, time_stride=time, max_length=frames)
    config.num_labels = 5
    model: Any = ASTForAudioClassification(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder)
    facts = {"max_length": frames, "mean": -4.2677393, "std": 4.5689974, "num_mel_bins": 128, "sampling_rate": 16_000}
    (folder / "preprocessor_config.json").write_text(json.dumps(facts), encoding="utf-8")
    return model.eval()


def grid(frequency: int, time: int, frames: int) -> tuple[int, int]:
    """Patches of 16 × 16 without padding: (length - 16) / stride + 1, rounded down."""
    return (128 - 16) // frequency + 1, (frames - 16) // time + 1


@pytest.mark.parametrize(("frequency", "time"), list(product(STRIDES, STRIDES)))
def test_every_stride_gives_transformers_output_and_trains_at_another_length(
    frequency: int, time: int, tmp_path: Path
) -> None:
    theirs = checkpoint(tmp_path, frequency, time, 128)
    native = load_backbone(str(tmp_path))
    inputs = torch.randn(2, 128, 128, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = theirs.audio_spectrogram_transformer(inputs).last_hidden_state
        found = native(inputs).last_hidden_state
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    assert native.patch_grid == grid(frequency, time, 128)
    assert found.shape[1] == 2 + native.patch_grid[0] * native.patch_grid[1]

    shorter = AudioClassifier(load_backbone(str(tmp_path), 64), "lora", ["a", "b"])
    assert shorter.backbone.patch_grid == grid(frequency, time, 64)
    shorter(inputs[:, :64], torch.tensor([0, 1])).loss.backward()
    assert all(parameter.grad is not None for parameter in shorter.trained_parameters().values())
    assert count("lora", 2, shorter.backbone.model.config).parameters == shorter.parameter_count()


@pytest.mark.parametrize(
    ("stride", "frames", "patches"),
    [(10, 1024, 12 * 101), (12, 1024, 10 * 85), (14, 1024, 9 * 73), (16, 1024, 8 * 64), (10, 128, 12 * 12)],
)
def test_the_published_inputs_have_the_published_number_of_patches(
    stride: int, frames: int, patches: int, tmp_path: Path
) -> None:
    theirs = checkpoint(tmp_path, stride, stride, frames)
    assert theirs.audio_spectrogram_transformer.embeddings.position_embeddings.shape[1] == 2 + patches
    backbone = load_backbone(str(tmp_path))
    assert backbone.patch_grid[0] * backbone.patch_grid[1] == patches
    assert backbone.front_end.max_length == frames
