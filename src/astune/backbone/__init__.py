"""The frozen Audio Spectrogram Transformer: loading it, its places in the paper's words, its positions."""

from astune.backbone.backbone import Backbone, Origin
from astune.backbone.load import load_backbone, load_config
from astune.backbone.sites import Sites
from astune.backbone.sublayer import SubLayer

__all__ = ["Backbone", "Origin", "Sites", "SubLayer", "load_backbone", "load_config"]
