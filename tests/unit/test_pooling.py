"""The pooling ``special``: what is trained with it, computed once with it, and embedded with it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from astune import AudioClassifier, Predictor, TrainConfig, load_backbone, train
from astune.errors import ConfigError
from astune.methods import parse_method
from astune.training.frozen import Upper
from tests.conformance.backbones_under_test import FRAMES
from tests.conformance.methods_under_test import LABELS, SPECS, batch, classifier
from tests.unit.test_cli import run

WITHOUT = [spec for spec in SPECS if not all(one.keeps_distillation for one in parse_method(spec).members)]


@pytest.mark.parametrize("spec", [spec for spec in SPECS if spec not in WITHOUT])
def test_it_is_the_normalised_mean_of_the_two_tokens_in_front(spec: str) -> None:
    model = classifier(spec, pooling="special").eval()
    inputs, _ = batch()
    with torch.no_grad():
        tokens = model.sites.output(model.sites.embed(inputs))
        mean = (tokens[:, 0] + tokens[:, 1]) / 2
        expected = (mean - mean.mean(dim=1, keepdim=True)) / mean.std(dim=1, keepdim=True, correction=0)
        torch.testing.assert_close(model.pooled(inputs), expected, atol=1e-5, rtol=1e-5)
        upper = Upper(model)
        torch.testing.assert_close(upper(upper.lower(inputs)).logits, model(inputs).logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("spec", WITHOUT)
def test_methods_that_replace_the_distillation_token_are_refused(spec: str) -> None:
    backbone = load_backbone("random:tiny", FRAMES)
    with pytest.raises(
        ConfigError, match=r"takes the distillation token, which .* replaces; use pooling='all' or 'cls'"
    ):
        AudioClassifier(backbone, spec, LABELS, "special")
    AudioClassifier(backbone, spec, LABELS, "cls")  # the backbone is still free


def test_validate_says_so_before_anything_is_heard(
    generated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = (
        f"data: {generated}\nmethod: dpt-25\npooling: special\nbackbone: random:tiny\noutput_dir: {tmp_path / 'out'}\n"
    )
    (tmp_path / "run.yaml").write_text(settings)
    code, _, err = run(capsys, monkeypatch, "validate", tmp_path / "run.yaml")
    assert code == 1
    assert "pooling='special' takes the distillation token, which dpt replaces; use pooling='all' or 'cls'" in err


@pytest.mark.parametrize("method", ["linear", "layermix", "lora:layers=3"])
def test_a_run_with_it_gives_an_adapter_that_predicts_and_embeds(method: str, generated: Path, tmp_path: Path) -> None:
    config = TrainConfig(
        data=str(generated), method=method, backbone="random:tiny", pooling="special", max_length=FRAMES, num_train_epochs=1,
        bf16=False, output_dir=tmp_path / "adapter",
    )  # fmt: skip
    train(config)
    predictor = Predictor(tmp_path / "adapter")
    assert predictor.model.pooling == "special"
    sounds = sorted(generated.rglob("*.wav"))[:3]
    embedded = predictor.embed(sounds)
    torch.testing.assert_close(predictor.model.classify(embedded).logits, predictor.logits(sounds))
    torch.testing.assert_close(embedded.mean(dim=1), torch.zeros(3), atol=1e-5, rtol=0)
