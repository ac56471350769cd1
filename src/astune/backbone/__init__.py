"""The frozen Audio Spectrogram Transformer: how it is loaded, its sub-layers in the paper's words, its position embeddings."""

from astune.backbone.backbone import Backbone, Origin
from astune.backbone.load import load_backbone, load_config
from astune.backbone.sites import Sites
from astune.backbone.sublayer import SubLayer

__all__ = ["Backbone", "Origin", "Sites", "SubLayer", "load_backbone", "load_config"]
