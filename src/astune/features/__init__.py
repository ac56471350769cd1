"""From samples to the backbone's input: log-Mel features, their augmentation, their cache."""

from astune.features.background_noise import BackgroundNoise
from astune.features.cache import ClipFeatures, FeatureCache, build_cache, features_of, listen_to_clip, rounded_features
from astune.features.feature_dataset import FeatureDataset
from astune.features.gain import Gain
from astune.features.label_smoothing import LabelSmoothing
from astune.features.log_mel import FrontEnd, LogMel
from astune.features.long_cache import LongFeatures, build_long_cache
from astune.features.mixup import Mixup
from astune.features.patchout import Patchout
from astune.features.random_crop import RandomCrop
from astune.features.spec_augment import SpecAugment
from astune.features.time_shift import TimeShift
from astune.features.waveform_augmentation import WaveformAugmentation

__all__ = [
    "BackgroundNoise",
    "ClipFeatures",
    "FeatureCache",
    "FeatureDataset",
    "FrontEnd",
    "Gain",
    "LabelSmoothing",
    "LogMel",
    "LongFeatures",
    "Mixup",
    "Patchout",
    "RandomCrop",
    "SpecAugment",
    "TimeShift",
    "WaveformAugmentation",
    "build_cache",
    "build_long_cache",
    "features_of",
    "listen_to_clip",
    "rounded_features",
]
