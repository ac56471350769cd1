"""Patchout: which patches stay, keyed by the clip, and only while training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from astune.errors import ConfigError
from astune.features import Patchout
from astune.features.patchout import PatchoutMode
from astune.training.config import TrainConfig
from astune.training.loop import train
from tests.conformance.methods_under_test import batch, classifier

GRIDS = st.tuples(st.integers(1, 12), st.integers(1, 50))
SHARES = st.floats(0, 1, exclude_max=True)


def kept(share: float, mode: PatchoutMode, grid: tuple[int, int], clips: list[int], epoch: int = 0) -> torch.Tensor:
    drawn = Patchout(share, mode, grid, seed=0)(epoch, [f"{clip}.wav" for clip in clips])
    assert drawn is not None
    return drawn


@given(grid=GRIDS, share=SHARES, mode=st.sampled_from(get_args(PatchoutMode)), seed=st.integers(0, 100))
def test_indices_are_patches_in_order(grid: tuple[int, int], share: float, mode: PatchoutMode, seed: int) -> None:
    few = grid[0] if mode == "structured" else grid[0] * grid[1]
    assume(share == 0 or share * few > 1)  # less than one of them is refused
    drawn = Patchout(share, mode, grid, seed)(3, ["5.wav", "0.wav", "9.wav"])
    if not share:
        assert drawn is None
        return
    assert drawn is not None
    for row in drawn.tolist():
        assert row == sorted(set(row))
        assert row
        assert 0 <= row[0] <= row[-1] < grid[0] * grid[1]
        if mode == "structured":
            bands, stretches = {index // grid[1] for index in row}, {index % grid[1] for index in row}
            assert len(row) == len(bands) * len(stretches)


@pytest.mark.parametrize(
    ("share", "mode", "number"),
    [
        (0.5, "unstructured", 294),  # of 12 x 49 patches, 500 frames
        (0.25, "unstructured", 441),
        (0.5, "structured", 8 * 35),  # round(49 sqrt(.5)) columns; of 294 patches round(8.4) rows of them
        (0.999, "unstructured", 1),
    ],
)
def test_how_many_stay(share: float, mode: PatchoutMode, number: int) -> None:
    assert kept(share, mode, (12, 49), [1]).shape == (1, number)


@pytest.mark.parametrize(("columns", "number"), [(1, 6), (2, 12), (5, 8 * 4), (24, 8 * 17)])
def test_whole_rows_and_columns_come_near_the_share(columns: int, number: int) -> None:
    """Half of 12 rows of so many patches."""
    assert kept(0.5, "structured", (12, columns), [1]).shape == (1, number)


@pytest.mark.parametrize("mode", get_args(PatchoutMode))
def test_of_a_single_row_whole_columns_are_the_share(mode: PatchoutMode) -> None:
    """Patches that are whole frames lie in one row, which always stays."""
    assert kept(0.4, mode, (1, 50), [1]).shape == (1, 30)


def test_a_clip_keeps_its_patches_whatever_is_around_it() -> None:
    drawn = kept(0.5, "unstructured", (12, 5), [7, 8])
    assert torch.equal(drawn[1:], kept(0.5, "unstructured", (12, 5), [8]))
    assert not torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn, kept(0.5, "unstructured", (12, 5), [7, 8], epoch=1))


@pytest.mark.parametrize(("mode", "share"), [("unstructured", 30 / 60), ("structured", 32 / 60)])
def test_every_patch_stays_about_as_often(mode: PatchoutMode, share: float) -> None:
    drawn = kept(0.5, mode, (12, 5), list(range(400)))
    found = torch.bincount(drawn.ravel(), minlength=60) / 400
    assert float((found - share).abs().max()) < 0.125  # five standard deviations of a share over 400 clips


def test_all_patches_kept_is_no_patchout() -> None:
    model = classifier("lora").eval()
    inputs, _ = batch(2)
    rows, columns = model.backbone.patch_grid
    every = torch.arange(rows * columns).expand(2, -1)
    with torch.no_grad():
        torch.testing.assert_close(model(inputs, kept_patches=every).logits, model(inputs).logits)


def test_dropped_patches_are_not_looked_at() -> None:
    """By hand: embeddings, the tokens that stay with the positions they had, the layers, the norm, the mean."""
    model = classifier("linear").eval()
    inputs, _ = batch(2)
    chosen = torch.tensor([[0, 3, 17], [1, 2, 59]])
    with torch.no_grad():
        tokens = model.backbone.model.embeddings(inputs)
        tokens = torch.stack([one[[0, 1, *(2 + row).tolist()]] for one, row in zip(tokens, chosen, strict=True)])
        for layer in model.backbone.model.layers:
            tokens = layer(tokens)
        expected = model.head(model.backbone.model.layernorm(tokens).mean(dim=1))
        torch.testing.assert_close(model(inputs, kept_patches=chosen).logits, expected)
        frames = inputs.clone()
        frames[:, 20:] = 5.0  # patches 0, 1, 2 ... of a row begin every 10 frames
        seen = torch.tensor([[0], [5]])  # the first column of the first and of the second row
        assert model.backbone.patch_grid == (12, 5)
        torch.testing.assert_close(
            model(inputs, kept_patches=seen).logits, model(frames, kept_patches=seen).logits, atol=1e-6, rtol=0
        )


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="not patchout=1"):
        Patchout(1.0, "structured", (12, 5), 0)
    with pytest.raises(ConfigError, match="structured"):
        Patchout(0.5, "structure", (12, 5), 0)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="drops none of 12 x 5"):
        Patchout(0.005, "unstructured", (12, 5), 0)


@pytest.mark.parametrize("mode", get_args(PatchoutMode))
@pytest.mark.parametrize("method", ["lora", "spt-300", "conformer"])
def test_a_run_with_patchout(
    mode: str, method: str, generated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training clips have 2 + 12 tokens, the scored ones all 2 + 24; the adapter says so."""
    from astune.backbone import Sites

    lengths: dict[bool, set[int]] = {True: set(), False: set()}
    run = Sites.run

    def watched(self: Sites, tokens: torch.Tensor, first: int = 0, last: int | None = None) -> torch.Tensor:
        lengths[torch.is_grad_enabled()].add(tokens.shape[1])
        return run(self, tokens, first, last)

    monkeypatch.setattr(Sites, "run", watched)
    settings = TrainConfig(
        data=str(generated), output_dir=tmp_path / "out", method=method, backbone="random:tiny", num_train_epochs=1,
        max_length=32, patchout=0.5, patchout_mode=mode,
    )  # fmt: skip
    train(settings, quiet=True)
    assert lengths == {True: {2 + 12}, False: {2 + 24}}
    adapter = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert (adapter["training"]["patchout"], adapter["training"]["patchout_mode"]) == (0.5, mode)


def test_old_results_keep_their_names() -> None:
    """Settings that came later stand in a run's settings key only where they say something."""
    plain = TrainConfig(data="x", output_dir=Path())
    assert "patchout" not in plain.settings_key()
    assert "cache_frozen" not in plain.settings_key()
    assert plain.model_copy(update={"patchout": 0.5}).settings_key() == {**plain.settings_key(), "patchout": 0.5}
