"""LoRA on a backbone of the published size and form at 500 frames: train, save, reload, predict, merge."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from astune import AudioClassifier, TrainConfig, load_data, train
from astune.class_scores import score_classes
from astune.data.generated import write_generated
from astune.features import build_cache

CHILD_BYTES = 4 * (221_184 + 769 * 6 + 2 * 768)  # of LoRA, head for six classes, final LayerNorm


@pytest.mark.slow
def test_lora_on_ast_base(tmp_path: Path) -> None:
    data = write_generated(tmp_path / "sounds", clips_per_class=(2, 1, 1), seconds=5.0)
    config = TrainConfig(
        data=str(data),
        backbone="random:base",
        output_dir=tmp_path / "adapter",
        max_length=500,
        num_train_epochs=1,
        per_device_train_batch_size=4,
        bf16=False,
    )
    result = train(config, quiet=True)
    assert result.trainable_parameters == 221_184
    assert result.adapter_bytes == CHILD_BYTES
    assert (tmp_path / "adapter" / "adapter_model.safetensors").stat().st_size < 1.1e6
    assert all(
        torch.isfinite(tensor).all()
        for tensor in load_file(tmp_path / "adapter" / "adapter_model.safetensors").values()
    )

    model = AudioClassifier.from_pretrained(tmp_path / "adapter")
    dataset = load_data(data)
    features = build_cache(dataset.paths, model.front_end, quiet=True)
    clips = dataset.split().test
    with torch.no_grad():
        logits = model(features.batch(clips)).logits
        assert (
            score_classes(logits, [dataset.targets[clip] for clip in clips]).confusion
            == result.scores["test"]["confusion"]
        )
        merged = model.merge_and_unload()
        torch.testing.assert_close(merged(features.batch(clips[:1])).logits, logits[:1], atol=1e-5, rtol=0)
