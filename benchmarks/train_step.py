"""One optimiser step of LoRA: ours, transformers with PEFT, full fine-tuning, and the floor.

Frozen weights need no gradient, so that a step cannot take less than twice the forward's matrix products: x W^T forward and g W
backward for every linear layer. The floor is those products alone, on random data, at the same shapes and in the same precision. It
is a little low: attention, where neither factor is frozen, is counted twice too and needs three times its forward; the patches'
projection, which needs no product backward, is counted once.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode
from transformers import ASTConfig, ASTForAudioClassification, ASTModel

from astune import AudioClassifier, load_backbone
from astune.backbone import load_config
from astune.compute import Arithmetic, bf16_is_faster
from astune.keyed import keyed_generator
from astune.methods.lora import LoRA
from astune.training.config import TrainConfig
from benchmarks.measure import Contestant, Outcome, Subject, agreement, contest, ratio
from benchmarks.report import CPU, Benchmark, Finding, Options, Report

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from peft import LoraConfig, get_peft_model

CLASSES = 50
_RATE = 1e-3  # of learning; no step's duration depends on it
_OURS, _BOTTLENECK, _PEFT, _FULL, _FLOOR, _LOADED = (
    "ours, lora", "ours, bottleneck", "transformers + peft", "transformers, full fine-tuning", "floor", "loaded",
)  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """A training batch, and what is promised for it on a machine with bfloat16."""

    frames: int
    batch: int
    speed_up: float
    """Over transformers and PEFT, at least."""
    memory: float
    """Share of transformers' and PEFT's peak, at most."""
    floor: float
    """Share of a step that is matrix products, at least."""


SHAPES = (Shape(100, 8, 1.3, 0.70, 0.73), Shape(500, 4, 1.4, 0.90, 0.68))


class Training:
    """The same loop for every contestant: forward, cross-entropy, backward, AdamW.

    Args:
        logits: from inputs.
        parameters: trained, by name.
        inputs: (batch, frames, bins).
        arithmetic: for its precision and its optimiser.
        shown: names whose gradients of the first step are kept.
    """

    def __init__(
        self,
        logits: Callable[[Tensor], Tensor],
        parameters: Mapping[str, nn.Parameter],
        inputs: Tensor,
        arithmetic: Arithmetic,
        shown: Callable[[nn.Parameter], bool] = lambda _: True,
    ) -> None:
        self.logits, self.parameters, self.inputs = logits, dict(parameters), inputs
        self.targets = torch.arange(len(inputs)) % CLASSES
        self.arithmetic = arithmetic
        defaults = TrainConfig(data="noise", output_dir=Path())
        self.optimizer = arithmetic.optimizer(
            self.parameters.values(),
            lr=_RATE,
            betas=(defaults.adam_beta1, defaults.adam_beta2),
            eps=defaults.adam_epsilon,
            weight_decay=defaults.weight_decay,
        )
        self.shown = shown
        self.first: dict[str, Tensor] = {}

    def step(self) -> None:
        """One optimiser step; the first one's loss and gradients are kept."""
        with self.arithmetic.computing():
            logits = self.logits(self.inputs)
        loss = F.cross_entropy(logits.float(), self.targets)
        loss.backward()  # type: ignore[no-untyped-call]
        if not self.first:
            shown = {name: p.grad for name, p in self.parameters.items() if p.grad is not None and self.shown(p)}
            self.first = {"loss": loss.detach()[None], **{name: grad.clone() for name, grad in shown.items()}}
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def subject(self) -> Subject:
        """For a worker."""
        return Subject(self.step, lambda: self.first)


def random_inputs(batch: int, frames: int, bins: int) -> Tensor:
    """A batch of noise, the same in every process.

    Args:
        batch: clips.
        frames: of 10 ms.
        bins: Mel filters.

    Returns:
        (batch, frames, bins).
    """
    return torch.randn(batch, frames, bins, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def start(parameters: Mapping[str, Tensor]) -> None:
    """Give what is trained the same random start under whatever library; nothing is zero, so that everything has a gradient.

    Args:
        parameters: by names that do not depend on the library.
    """
    for name, parameter in sorted(parameters.items()):
        parameter.copy_(0.02 * torch.from_numpy(keyed_generator(name).standard_normal(parameter.shape)))


def classifier(backbone: str, frames: int, method: str) -> AudioClassifier:
    """Ours, with everything that a method adds at a random start.

    Args:
        backbone: as for :func:`astune.load_backbone`.
        frames: of 10 ms.
        method: a preset or spec.

    Returns:
        The classifier, in training mode.
    """
    model = AudioClassifier(load_backbone(backbone, frames), method, [str(label) for label in range(CLASSES)])
    added = dict(model.added.named_parameters())
    start({name: p for name, p in model.trained_parameters().items() if name in added or name.startswith("head.")})
    return model.train()


def ours(backbone: str, frames: int, batch: int, method: str = "lora", *, reference: bool = False) -> Subject:
    """:class:`astune.AudioClassifier`, in the arithmetic our training loop would choose.

    Args:
        backbone: as for :func:`astune.load_backbone`.
        frames: of 10 ms.
        batch: clips a step.
        method: a preset or spec.
        reference: in float32 and with transformers' eager attention.
    """
    model, arithmetic = classifier(backbone, frames, method), _arithmetic(reference=reference)
    arithmetic.prepare(model.sites)
    if reference:
        model.backbone.model.set_attn_implementation("eager")
    inputs = random_inputs(batch, frames, model.front_end.num_mel_bins)
    return Training(lambda x: model(x).logits, model.trained_parameters(), inputs, arithmetic).subject()


def _arithmetic(*, reference: bool) -> Arithmetic:
    """Float32 for a reference, whatever the machine has."""
    return Arithmetic.of(CPU, False if reference else None)


def with_peft(backbone: str, frames: int, batch: int, *, reference: bool = False) -> Subject:
    """PEFT's LoRA on transformers' ``ASTModel``, with the rank, scale and start of ours, its pooling, head and trained norm.

    Args:
        backbone: as for :func:`astune.load_backbone`.
        frames: of 10 ms.
        batch: clips a step.
        reference: in float32 and with transformers' eager attention.
    """
    plain = load_backbone(backbone, frames).model
    if reference:
        plain.set_attn_implementation("eager")
    width, bins = plain.config.hidden_size, plain.config.num_mel_bins
    lora = LoRA()
    rank = max(1, round(width / lora.reduction_rate))
    config = LoraConfig(
        r=rank,
        lora_alpha=rank * lora.alpha / lora.reduction_rate,  # type: ignore[arg-type] # PEFT divides by r
        target_modules=[f"{target}_proj" for target in lora.targets],
        bias="none",
    )
    model: Any = get_peft_model(plain, config)
    head = nn.Linear(width, CLASSES)
    trained = {_our_name(name): p for name, p in model.named_parameters() if p.requires_grad}
    trained |= {f"head.{name}": p for name, p in head.named_parameters()}
    start(trained)
    trained |= {f"norm.{name}": p.requires_grad_() for name, p in plain.layernorm.named_parameters()}
    model.train()
    inputs = random_inputs(batch, frames, bins)
    return Training(
        lambda x: head(model(x).last_hidden_state.mean(dim=1)), trained, inputs, _arithmetic(reference=reference)
    ).subject()


def _our_name(name: str) -> str:
    """Of PEFT's parameter, such as ``base_model.model.layers.0.attention.q_proj.lora_A.default.weight``."""
    index, target, matrix = re.findall(r"layers\.(\d+)\.attention\.(.)_proj\.lora_([AB])\.", name)[0]
    return f"layers.{index}.mhsa.{target}.lora.{'down' if matrix == 'A' else 'up'}.weight"


def full(backbone: str, frames: int, batch: int, *, reference: bool = False) -> Subject:
    """Full fine-tuning of transformers' ``ASTForAudioClassification``; gradients of biases and norms stand for all.

    Args:
        backbone: as for :func:`astune.load_backbone`.
        frames: of 10 ms.
        batch: clips a step.
        reference: in float32 and with transformers' eager attention.
    """
    plain = load_backbone(backbone, frames).model
    plain.config.num_labels = CLASSES
    model = ASTForAudioClassification(plain.config)
    model.audio_spectrogram_transformer = plain
    start(dict(model.classifier.dense.named_parameters()))
    if reference:
        model.set_attn_implementation("eager")
    model.train()
    inputs = random_inputs(batch, frames, plain.config.num_mel_bins)
    return Training(
        lambda x: model(x).logits,
        dict(model.named_parameters()),
        inputs,
        _arithmetic(reference=reference),
        shown=lambda parameter: parameter.ndim == 1,
    ).subject()


def floor(backbone: str, frames: int, batch: int) -> Subject:
    """Twice the forward's matrix products; its evidence is their count beside twice that of ``ASTModel``'s forward.

    Args:
        backbone: gives the shapes.
        frames: of 10 ms.
        batch: clips a step.
    """
    config = load_config(backbone)
    config.max_length = frames
    with torch.device("meta"):
        plain = ASTModel(config)
        plain.set_attn_implementation("eager")
        with FlopCounterMode(display=False) as forward:
            plain(torch.empty(batch, frames, config.num_mel_bins))
    pixels = plain.embeddings.patch_embeddings.projection.weight[0].numel()
    products = _products(config, plain.embeddings.position_embeddings.shape[1], pixels, batch)

    def evidence() -> dict[str, Tensor]:
        with FlopCounterMode(display=False) as counter:
            products()
        first = forward.get_flop_counts()["Global"][torch.ops.aten.convolution]
        expected = 2 * forward.get_total_flops() - first
        return {"products": torch.tensor([counter.get_total_flops()]), "expected": torch.tensor([expected])}

    return Subject(products, evidence)


def _products(config: ASTConfig, tokens: int, pixels: int, batch: int) -> Callable[[], None]:
    """A function that multiplies; each layer has matrices of its own, as in the model, where they do not fit into a cache."""
    dtype = torch.bfloat16 if bf16_is_faster(CPU) else torch.float32
    d, inner, heads = config.hidden_size, config.intermediate_size, config.num_attention_heads
    draw = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw).to(dtype)

    patches, patch = random(batch * (tokens - 2), pixels), random(d, pixels)
    layers = [
        [random(*shape) for shape in [(d, d)] * 4 + [(inner, d), (d, inner)]] for _ in range(config.num_hidden_layers)
    ]
    rows = {size: random(batch * tokens, size) for size in (d, inner)}
    states, scores = random(batch, heads, tokens, d // heads), random(batch, heads, tokens, tokens)
    turned = states.transpose(2, 3)

    def multiply() -> None:
        torch.matmul(patches, patch.t())
        for weights in layers:
            for weight in weights:
                torch.matmul(rows[weight.shape[1]], weight.t())
                torch.matmul(rows[weight.shape[0]], weight)
            for _ in range(2):  # q k^T and weights v, forward and as often backward
                torch.matmul(states, turned)
                torch.matmul(scores, states)

    return multiply


def loaded(backbone: str, frames: int, batch: int) -> Subject:
    """What every contestant needs before its first step: the imports, the backbone, a batch.

    Args:
        backbone: as for :func:`astune.load_backbone`.
        frames: of 10 ms.
        batch: clips a step.
    """
    held = load_backbone(backbone, frames), random_inputs(batch, frames, load_config(backbone).num_mel_bins)
    return Subject(evidence=lambda: {"frames": torch.tensor([held[0].max_length])})


def contestants(backbone: str, frames: int, batch: int) -> list[Contestant]:
    """All rows of a table, and the references their first steps are held against.

    Args:
        backbone: as for :func:`astune.load_backbone`.
        frames: of 10 ms.
        batch: clips a step.

    Returns:
        Contestants; ``<name>, reference`` is that of ``<name>``, and PEFT's is that of our LoRA too.
    """
    shape: dict[str, object] = {"backbone": backbone, "frames": frames, "batch": batch}
    bottleneck = {**shape, "method": "bottleneck-pf-par"}
    makers: list[tuple[str, Callable[..., Subject], dict[str, object]]] = [
        (_OURS, ours, shape), (_BOTTLENECK, ours, bottleneck), (_PEFT, with_peft, shape), (_FULL, full, shape),
    ]  # fmt: skip
    return [
        Contestant(_LOADED, loaded, shape, timed=False),
        *(
            Contestant(_reference(name), make, {**settings, "reference": True}, timed=False)
            for name, make, settings in makers
            if name != _OURS
        ),
        *(Contestant(name, make, settings) for name, make, settings in makers),
        Contestant(_FLOOR, floor, shape),
    ]


def _reference(name: str) -> str:
    return f"{_PEFT if name == _OURS else name}, reference"


def first_step(name: str, outcome: Outcome, reference: Outcome) -> Finding:
    """Whether a contestant's first step is the reference's.

    Args:
        name: of the contestant.
        outcome: of the contestant.
        reference: of the same step in float32 with transformers' eager attention.

    Returns:
        The comparison.
    """
    most = 0.02 if bf16_is_faster(CPU) else 1e-6  # bfloat16 has three digits; measured in float32: below 1e-9
    loss, angle, norm = agreement(outcome.evidence, reference.evidence)
    figures = f"loss {loss:.1e} off, gradients 1 - cosine {angle:.1e}, norm of difference {norm:.1e}"
    return Finding(f"{name}, first step against float32 and eager attention: {figures}", max(loss, angle) < most)


def multiplied(outcome: Outcome) -> Finding:
    """Whether the floor multiplies as much as it should.

    Args:
        outcome: of the floor.

    Returns:
        The comparison.
    """
    products, expected = (int(outcome.evidence[name]) for name in ("products", "expected"))
    return Finding(f"floor multiplies {products / 1e9:.1f} GFLOP of {expected / 1e9:.1f}", products == expected)


def run(options: Options) -> Iterator[Report]:
    """A table a shape.

    Args:
        options: of the command line.

    Yields:
        The tables.
    """
    backbone = options.backbone or "random:base"
    for shape in SHAPES:
        title = f"train-step: {backbone}, {shape.frames} frames, batch {shape.batch}"
        outcomes = contest(title, contestants(backbone, shape.frames, shape.batch), options.plan(5, 2))
        yield report(title, shape, outcomes, promised=backbone == "random:base" and bf16_is_faster(CPU))


def report(title: str, shape: Shape, outcomes: Mapping[str, Outcome], *, promised: bool) -> Report:
    """What was measured of a shape.

    Args:
        title: of the table.
        shape: the batch.
        outcomes: by contestant.
        promised: whether the claims were made for this machine and backbone.

    Returns:
        Table, claims and checks.
    """
    timed = {name: outcome for name, outcome in outcomes.items() if outcome.wall}
    lora, peft, base = timed[_OURS], timed[_PEFT], outcomes[_LOADED].peak_mib
    rows = [
        (
            name, f"{outcome.seconds:.3f}", f"{outcome.cpu_seconds:.3f}", str(ratio(peft, outcome)),
            f"{ratio(timed[_FLOOR], outcome).median:.2f}", f"{outcome.peak_mib:,.0f}", f"{outcome.peak_mib - base:,.0f}",
        )
        for name, outcome in timed.items()
    ]  # fmt: skip
    speed_up, share, memory = ratio(peft, lora), ratio(timed[_FLOOR], lora), lora.peak_mib / peft.peak_mib
    bottleneck = ratio(timed[_BOTTLENECK], lora)
    bf16 = [
        (f"{speed_up.median:.2f} of at least {shape.speed_up} times as fast as {_PEFT}, in bfloat16", speed_up.median >= shape.speed_up),
        (f"{memory:.2f} of at most {shape.memory:.2f} of its memory, in bfloat16", memory <= shape.memory),
        (f"{share.median:.2f} of at least {shape.floor} of a step is matrix products, in bfloat16", share.median >= shape.floor),
    ]  # fmt: skip
    return Report(
        title,
        ("contestant", "s / step", "CPU s / step", "speed-up over peft", "floor / step", "peak MiB", "above loaded"),
        rows,
        claims=[
            *(Finding(text, holds if promised else None) for text, holds in bf16),
            Finding(f"bottleneck's step is {bottleneck} of LoRA's, at most 1.05", bottleneck.median <= 1.05),
        ],
        checks=[
            *(first_step(name, timed[name], outcomes[_reference(name)]) for name in timed if name != _FLOOR),
            multiplied(timed[_FLOOR]),
        ],
        notes=[
            "memory is ru_maxrss, the largest resident set of the process since its start; a process that imports the same "
            f"libraries, loads the backbone and makes no step has {base:,.0f} MiB"
        ],
        outcomes=timed,
    )


BENCHMARK = Benchmark(
    "train-step", "one optimiser step of LoRA against transformers with PEFT, full fine-tuning and the floor", run
)
