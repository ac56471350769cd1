"""A backbone as a value: its sizes, its lengths, and whose it is."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from transformers import ASTConfig, ASTModel

from astune import AudioClassifier, load_backbone
from astune.backbone import Backbone
from astune.backbone.attention import NAMES
from astune.errors import ConfigError
from astune.features.log_mel import FrontEnd

LABELS = ["a", "b"]


def own(**changed: Any) -> ASTModel:
    torch.manual_seed(0)
    shape: dict[str, Any] = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
    }
    model: Any = ASTModel(ASTConfig(**shape, max_length=128, **changed))
    torch.nn.init.normal_(model.embeddings.position_embeddings)
    return model.eval()  # type: ignore[no-any-return]


def test_what_it_says_of_itself() -> None:
    backbone = load_backbone("random:tiny", 64)
    assert (backbone.width, backbone.n_layers, backbone.patch_grid) == (192, 4, (12, 5))
    assert (backbone.max_length, backbone.special_tokens, backbone.has_dropout) == (64, 2, False)
    assert backbone.front_end == FrontEnd(64)
    assert (backbone.origin.name, backbone.origin.position_embeddings) == ("random:tiny", "fit")
    assert Backbone.of(own(hidden_dropout_prob=0.1)).has_dropout
    assert Backbone.of(own(attention_probs_dropout_prob=0.1)).has_dropout


def test_transformers_model_carries_no_notes() -> None:
    backbone = load_backbone("random:tiny", 64)
    AudioClassifier(backbone, "lora", LABELS)
    assert not [name for name in backbone.model.__dict__ if "astune" in name]


def test_its_attention_is_transformers_own_until_a_classifier_takes_it() -> None:
    backbone = load_backbone("random:tiny", 64)
    assert backbone.model.config._attn_implementation not in NAMES.values()
    AudioClassifier(backbone, "lora", LABELS)
    assert backbone.model.config._attn_implementation == NAMES["auto"]


def test_another_length_is_fitted_from_the_pretrained_positions() -> None:
    """Not from those of the length before, of which a short one has lost most."""
    native = Backbone.of(own())
    short = native.fit(32)
    assert (native.max_length, short.max_length) == (128, 32)
    assert torch.equal(short.fit(128).sites.positions, native.sites.positions)
    assert torch.equal(short.fit(200).sites.positions, native.fit(200).sites.positions)
    zeroed = short.fit(64, "zero")
    assert not zeroed.sites.positions.any()
    assert zeroed.origin.position_embeddings == "zero"
    assert torch.equal(zeroed.fit(128).sites.positions, native.sites.positions)


def test_lengths_share_all_tensors_but_positions() -> None:
    native = Backbone.of(own())
    fitted = native.fit(64)
    parameters = zip(native.sites.parameters().items(), fitted.sites.parameters().values(), strict=True)
    assert [name for (name, one), other in parameters if one is not other] == ["embeddings.positions"]
    inputs = torch.randn(1, 128, 128)
    with torch.no_grad():
        assert fitted(inputs[:, :64]).last_hidden_state.shape == (1, 2 + 12 * 5, 32)
        assert torch.equal(native(inputs).last_hidden_state, native.model(inputs).last_hidden_state)


def test_weights_belong_to_one_classifier_at_whatever_length() -> None:
    native = Backbone.of(own())
    fitted = native.fit(64)
    AudioClassifier(fitted, "bitfit", LABELS)
    for taken in (native, fitted, copy.deepcopy(fitted)):
        with pytest.raises(ConfigError, match="belongs to another classifier"):
            AudioClassifier(taken, "lora", LABELS)
        with pytest.raises(ConfigError, match="belongs to another classifier"):
            taken.fit(32)


def test_a_deep_copy_of_a_fresh_one_is_free_and_its_own() -> None:
    backbone = load_backbone("random:tiny", 64)
    twin = copy.deepcopy(backbone)
    assert twin.sites.model is twin.model
    AudioClassifier(backbone, "full-ft", LABELS).head.weight.data.zero_()
    with torch.no_grad():
        backbone.sites.norm.bias.add_(1)
    model = AudioClassifier(twin, "lora", LABELS)
    assert model.origin == backbone.origin
    assert not torch.equal(model.sites.norm.bias, backbone.sites.norm.bias)


def test_a_model_of_the_users_own() -> None:
    model = own()
    backbone = Backbone.of(model)
    assert backbone.model is model
    assert (backbone.origin.name, len(backbone.origin.fingerprint)) == ("unnamed", 64)
    assert AudioClassifier(backbone, "lora", LABELS).front_end == FrontEnd(128)
    with pytest.raises(ConfigError, match=r"model is of type str; give a transformers\.ASTModel"):
        Backbone.of("bundled")  # type: ignore[arg-type]
