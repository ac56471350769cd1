"""Names and bounds that commands show before anything heavy is imported."""

from __future__ import annotations

from typing import Literal

PUBLISHED_BACKBONE = "MIT/ast-finetuned-audioset-10-10-0.4593"
"""The paper's checkpoint: AST-base, ImageNet-21K and AudioSet, 1024 frames, 345 MB."""

BUNDLED_BACKBONE = "bundled"
"""The small backbone inside the package: pretrained by us (``pretraining/``), loads offline."""

Selection = Literal["best-validation", "last"]
"""Which epoch's weights a run keeps."""

Sampling = Literal["random", "balanced"]
"""Which clips an epoch visits: each once, or each class equally often."""

Scheduler = Literal["cosine", "linear", "constant"]
"""How the learning rate falls after the warm-up, as transformers names it."""

RecipeName = Literal["paper", "own"]
"""Which defaults fill in settings that the user leaves out."""

TaskName = Literal["single-label", "multi-label"]
"""What a clip may have: one label, or any number of them."""

HeadStart = Literal["random", "probe"]
"""The first weights of a head."""

Pooling = Literal["all", "cls", "special"]
"""What of a clip's output tokens is classified: the mean of all, [CLS] alone, or, as transformers' ``ASTForAudioClassification`` does it,
the mean of [CLS] and the distillation token with mean 0 and variance 1."""

AttentionKernel = Literal["auto", "sdpa", "eager"]
"""How attention is computed, as transformers names it: by torch's ``scaled_dot_product_attention``, or product by product. ``auto`` takes
the faster one."""

OLD_KERNELS: dict[str, AttentionKernel] = {"fused": "sdpa", "math": "eager"}
"""Names of attention kernels in earlier releases, and their names now. The next release refuses the old ones."""


def current_kernel(name: object) -> object:
    """Replace the name that an attention kernel had in earlier releases.

    Args:
        name: as a user or a file gives it.

    Returns:
        The name now; anything else as it is.
    """
    return OLD_KERNELS.get(name, name) if isinstance(name, str) else name


MatmulPrecision = Literal["highest", "high", "medium"]
"""Precision of float32 products, in torch's words."""

Precision = Literal["float32", "bfloat16"]
"""Precision of the matrix products of a model."""

Pool = Literal["mean", "max", "first"]
"""How scores of windows become those of the recording."""

ADAPTER_WEIGHTS, ADAPTER_CONFIG, ADAPTER_GRAPH = "adapter_model.safetensors", "adapter_config.json", "model.onnx"
"""Files of an adapter folder; the last one is there where it was exported into it."""

Runtime = Literal["torch", "onnx"]
"""What computes: torch, or onnxruntime with an exported graph."""

COMPARED_METHODS = ("baseline", "linear", "layermix", "lora", "bottleneck-pf-par", "full-ft")
"""What ``astune compare`` compares; the baseline has no network."""

SEARCHED_METHODS = ("lora", "bottleneck-pf-par", "dpt")
"""The methods whose sizes ``astune search`` chooses for each layer."""

FRAME, HOP = 400, 160
"""Samples of a frame of features and from one to the next, at 16 kHz: 25 and 10 ms."""


def samples_of(frames: int) -> int:
    """Number of samples at 16 kHz that so many frames cover.

    Args:
        frames: 1 or more.
    """
    return (frames - 1) * HOP + FRAME


FARTHEST_MEAN, STD_BOUNDS = 1e4, (1e-4, 1e4)
"""Limits for mean and deviation of log-Mel energies, which are between -16 and 20; beyond, no sound is left after normalisation."""

MOST_MEL_BINS = 257
"""Mel filters: one for each frequency of a spectrum of 512 points."""

LONGEST_INPUT = 360_000
"""Frames of 10 ms, an hour; beyond, position embeddings alone take gigabytes."""

ExportFormat = Literal["onnx", "peft", "transformers"]
"""Formats that adapters are exported to; each is a file in ``astune/export/``."""
