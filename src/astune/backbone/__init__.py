"""The frozen Audio Spectrogram Transformer: loading it, its places in the paper's words, its positions."""

from astune.backbone.load import Origin, load_backbone, load_config, origin_of, set_origin
from astune.backbone.sites import Sites, SubLayer

__all__ = ["Origin", "Sites", "SubLayer", "load_backbone", "load_config", "origin_of", "set_origin"]
