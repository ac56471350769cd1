"""The frozen Audio Spectrogram Transformer: loading it, its places in the paper's words, its positions."""

from astune.backbone.load import PUBLISHED_BACKBONE, Origin, load_backbone, load_config, origin_of
from astune.backbone.sites import Sites, SubLayer

__all__ = ["PUBLISHED_BACKBONE", "Origin", "Sites", "SubLayer", "load_backbone", "load_config", "origin_of"]
