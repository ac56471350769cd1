"""From samples to the backbone's input: log-Mel features, their augmentation, their cache."""

from astune.features.cache import ClipFeatures, FeatureCache, build_cache, features_of, listen_to_clip, rounded_features
from astune.features.feature_dataset import FeatureDataset
from astune.features.log_mel import FrontEnd, LogMel
from astune.features.patchout import Patchout
from astune.features.spec_augment import SpecAugment

__all__ = [
    "ClipFeatures",
    "FeatureCache",
    "FeatureDataset",
    "FrontEnd",
    "LogMel",
    "Patchout",
    "SpecAugment",
    "build_cache",
    "features_of",
    "listen_to_clip",
    "rounded_features",
]
