"""The student: transformers' own ``ASTModel``, small, taught by the convolutional teacher on what Patchout leaves of each clip.

Per clip, several views keep 30, 21 or 12 % of the patches of one, two or five seconds. A view has to give back, from its tokens:
the teacher's features over time and pooled, the labels and the teacher's own guess at them, and the clip's energies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import ASTConfig, ASTModel
from typing_extensions import override

from astune.architecture import SPECIAL_TOKENS, time_patches
from astune.backbone.sites import Sites
from pretraining.mixing import BINS
from pretraining.stage import soft_cross_entropy
from pretraining.teacher import TIME_STRIDE, Teacher, keyword_accuracy

if TYPE_CHECKING:
    from pretraining.corpus import Part
    from pretraining.mixing import Batch

_PATCH, _STRIDE = 16, 10  # of AST, in frames and in bins
_BANDS = 32  # the energies a token column gives back: 32 bands, in two halves of its 16 frames
_TERMS = {
    "labels_special": 0.5,
    "labels_mean": 0.5,
    "teacher_time": 2.0,
    "teacher_pooled": 1.0,
    "energies": 5.0,
    "statistics": 0.5,
}


@dataclass(frozen=True)
class StudentConfig:
    """Size and training of the student."""

    width: int = 192
    layers: int = 6
    max_length: int = 500
    """Native input length, in frames."""
    views: int = 2
    """Masked views of each clip."""
    keep: tuple[tuple[int, float], ...] = ((98, 0.30), (198, 0.21), (498, 0.12))
    """Share of the patches a view keeps, by the clip's frames."""
    steps: int = 12500
    learning_rate: float = 7e-4
    weight_decay: float = 0.05
    temperature: float = 1.5
    """Of the teacher's guesses."""


class Student(nn.Module):
    """An ``ASTModel`` whose position table is the sum of one over frequency and one over time, and what only training needs.

    Args:
        config: size.
        classes: labels of the corpus.
        channels: width of the teacher's features.
    """

    def __init__(self, config: StudentConfig, classes: int, channels: int) -> None:
        super().__init__()
        shape = ASTConfig(
            hidden_size=config.width, num_hidden_layers=config.layers, num_attention_heads=config.width // 64,
            intermediate_size=4 * config.width, max_length=config.max_length, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        )  # fmt: skip
        self.backbone = ASTModel(shape)
        self.backbone.embeddings.position_embeddings.requires_grad_(False)
        self.rows, self.columns = time_patches(BINS), time_patches(config.max_length)
        self.special = nn.Parameter(torch.empty(SPECIAL_TOKENS, config.width))
        self.frequency = nn.Parameter(torch.empty(self.rows, config.width))
        self.time = nn.Parameter(torch.empty(self.columns, config.width))
        width = config.width
        self.heads = nn.ModuleDict(
            {
                "labels_special": nn.Linear(width, classes),
                "labels_mean": nn.Linear(width, classes),
                "teacher_time": nn.Linear(width, channels),
                "teacher_pooled": nn.Linear(width, 2 * channels),
                "energies": nn.Linear(width, 2 * _BANDS),
                "statistics": nn.Linear(width, BINS),
            }
        )
        _start(self)

    def patches(self, features: Tensor) -> Tensor:
        """(batch, frames, 128) to (batch, rows * columns, 256), frequency-major as in AST."""
        cut = features.unfold(1, _PATCH, _STRIDE).unfold(2, _PATCH, _STRIDE)  # (batch, columns, rows, time, frequency)
        return cut.permute(0, 2, 1, 4, 3).reshape(len(features), -1, _PATCH * _PATCH)

    @override
    def forward(self, patches: Tensor, keep: Tensor, offsets: Tensor) -> Tensor:
        """Tokens of the patches that are kept.

        Args:
            patches: (batch, rows * columns, 256).
            keep: (batch, kept) indices of patches.
            offsets: (batch,) column of the position table at which each clip begins.

        Returns:
            (batch, 2 + kept, width), after the last LayerNorm.
        """
        columns = patches.shape[1] // self.rows
        kept = patches.gather(1, keep[..., None].expand(-1, -1, patches.shape[-1]))
        projection = self.backbone.embeddings.patch_embeddings.projection
        tokens = F.linear(kept, projection.weight.flatten(1), projection.bias)
        tokens = tokens + self.frequency[keep // columns] + self.time[keep % columns + offsets[:, None]]
        embeddings = self.backbone.embeddings
        special = torch.cat([embeddings.cls_token, embeddings.distillation_token], dim=1) + self.special
        x = torch.cat([special.expand(len(tokens), -1, -1), tokens], dim=1)
        for layer in self.backbone.layers:
            x = layer(x)
        return self.backbone.layernorm(x)  # type: ignore[no-any-return]

    @torch.no_grad()
    def exported(self) -> ASTModel:
        """The backbone with its position table written out."""
        grid = (self.frequency[:, None] + self.time[None]).flatten(0, 1)
        self.backbone.embeddings.position_embeddings.copy_(torch.cat([self.special, grid])[None])
        return self.backbone


@torch.no_grad()
def _start(student: Student) -> None:
    """Weights to start from: attention that looks like a trained one's (Trockman and Kolter, 2023), positions as two-dimensional sines.

    Query and key start near a multiple of the identity, so that tokens look at tokens like themselves; value and output near a
    negative one.
    """
    width, heads = student.backbone.config.hidden_size, student.backbone.config.num_attention_heads
    for module in student.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(module.weight.flatten(1))
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def near_identity(noise: float, share: float) -> tuple[Tensor, Tensor, Tensor]:
        left, scales, right = torch.linalg.svd(
            noise * torch.randn(width, width) / width**0.5 + share * torch.eye(width)
        )
        return left, scales.sqrt(), right

    sites = Sites(student.backbone)
    sites.set_kernel("auto")
    for layer in sites.layers:
        projections = layer["mhsa"].projections
        size = width // heads
        queries, keys = [], []
        for _ in range(heads):
            left, scales, right = near_identity(0.7, 0.7)
            queries.append((left[:, :size] * scales[:size]).T)
            keys.append(scales[:size, None] * right[:size])
        left, scales, right = near_identity(0.4, -0.4)
        projections["q"].weight.copy_(torch.cat(queries))
        projections["k"].weight.copy_(torch.cat(keys))
        projections["v"].weight.copy_(scales[:, None] * right)
        projections["o"].weight.copy_(left * scales)
    half = width // 2
    for table, columns, base in ((student.frequency, slice(0, half), 30.0), (student.time, slice(half, None), 100.0)):
        angles = torch.arange(len(table))[:, None] * base ** (-torch.arange(half // 2) / (half // 2))
        table.zero_()
        table[:, columns] = 0.7 * torch.cat([angles.sin(), angles.cos()], dim=1)
    for tokens in (
        student.special,
        student.backbone.embeddings.cls_token,
        student.backbone.embeddings.distillation_token,
    ):
        nn.init.normal_(tokens, std=0.3)


class StudentLearner:
    """Trains the student on what the teacher makes of each clip.

    Args:
        module: the student.
        teacher: trained; left as it is.
        config: views, shares, temperature.
        monitor: clips of the speaker that is only watched.
        seed: of the masks.
    """

    def __init__(self, module: Student, teacher: Teacher, config: StudentConfig, monitor: Part, seed: int) -> None:
        self.module = module
        self.teacher = teacher.folded()
        self.config, self.monitor, self.seed = config, monitor, seed
        self.shares = dict(config.keep)

    def losses(self, batch: Batch) -> dict[str, tuple[float, Tensor]]:
        """What the views' tokens should give back; see :class:`pretraining.stage.Learner`."""
        draw = torch.Generator().manual_seed(self.seed * 1_000_003 + batch.step)
        student, views = self.module, self.config.views
        features = batch.features
        patches = student.patches(features)
        columns = patches.shape[1] // student.rows
        keep = _kept(draw, (views * len(features), student.rows, columns), self.shares[features.shape[1]])
        offsets = torch.randint(student.columns - columns + 1, (len(features),), generator=draw)
        tokens = student(patches.repeat(views, 1, 1), keep, offsets.repeat(views))
        patch_tokens = tokens[:, SPECIAL_TOKENS:]
        mean = patch_tokens.mean(dim=1)
        column_tokens, seen = _column_means(patch_tokens, keep % columns, columns)
        inputs = {
            "labels_special": tokens[:, :SPECIAL_TOKENS].mean(dim=1), "labels_mean": mean, "teacher_time": column_tokens,
            "teacher_pooled": mean, "energies": column_tokens, "statistics": mean,
        }  # fmt: skip
        goals = self._goals(batch, columns)
        terms = {}
        for name, weight in _TERMS.items():
            given, goal = student.heads[name](inputs[name]), goals[name].repeat(views, *[1] * (goals[name].ndim - 1))
            if name.startswith("labels"):
                loss = soft_cross_entropy(given, goal)
            elif goal.ndim == 3:  # only where the view has kept a patch of the column
                loss = ((given - goal).square().mean(dim=-1) * seen).sum() / seen.sum()
            else:
                loss = F.mse_loss(given, goal)
            terms[name] = (weight, loss)
        return terms

    @torch.no_grad()
    def _goals(self, batch: Batch, columns: int) -> dict[str, Tensor]:
        features = batch.features
        logits, over_time = self.teacher(features)
        labels = 0.5 * batch.targets + 0.5 * (logits / self.config.temperature).softmax(-1)
        # The teacher's feature at the middle of each token column, between its neighbours.
        positions = (_STRIDE * torch.arange(columns) + _PATCH / 2) / TIME_STRIDE
        positions = positions.clamp(max=over_time.shape[-1] - 1.001)
        before = positions.long()
        share = positions - before
        at_columns = (over_time[..., before] * (1 - share) + over_time[..., before + 1] * share).transpose(1, 2)
        bands = features.reshape(*features.shape[:2], _BANDS, -1).mean(dim=-1)
        cut = bands.unfold(1, _PATCH, _STRIDE)  # (batch, columns, bands, frames of a patch)
        halves = cut.reshape(*cut.shape[:3], 2, -1).mean(dim=-1)
        coarse = features.reshape(*features.shape[:2], BINS // 2, 2).mean(dim=-1)
        statistics = torch.cat([coarse.mean(dim=1), coarse.std(dim=1)], dim=1)
        return {
            "labels_special": labels,
            "labels_mean": labels,
            "teacher_time": _standardised(at_columns, (0, 1)),
            "teacher_pooled": _standardised(Teacher.pooled(over_time), (0,)),
            "energies": halves.flatten(2),
            "statistics": _standardised(statistics, (0,)),
        }

    @torch.no_grad()
    def check(self) -> dict[str, float]:
        """Share of the watched speaker's keywords that are told apart, from all patches, at the position of ``fit``."""
        student = self.module.eval()

        def logits_of(features: Tensor) -> Tensor:
            patches = student.patches(features)
            columns = patches.shape[1] // student.rows
            everything = torch.arange(patches.shape[1]).expand(len(features), -1)
            offsets = torch.full((len(features),), student.columns // 2 - columns // 2)
            tokens = student(patches, everything, offsets)
            special: Tensor = student.heads["labels_special"](tokens[:, :SPECIAL_TOKENS].mean(dim=1))
            mean: Tensor = student.heads["labels_mean"](tokens[:, SPECIAL_TOKENS:].mean(dim=1))
            return special.softmax(-1) + mean.softmax(-1)

        return {"monitor": keyword_accuracy(logits_of, self.monitor)}


def _kept(draw: torch.Generator, shape: tuple[int, int, int], share: float) -> Tensor:
    """Which patches each view keeps: for six batches of ten at random, else by whole stretches of time too; (batch, kept)."""
    scores = torch.rand(shape, generator=draw)
    if torch.rand((), generator=draw) < 0.4:
        scores = 0.6 * scores + torch.rand(shape[0], 1, shape[2], generator=draw)
    return scores.flatten(1).argsort(dim=1)[:, : int(shape[1] * shape[2] * share)]


def _column_means(tokens: Tensor, column: Tensor, columns: int) -> tuple[Tensor, Tensor]:
    """Mean of the tokens of each time column, and where there are any; (batch, columns, width) and (batch, columns)."""
    member = F.one_hot(column, columns).transpose(1, 2).to(tokens.dtype)
    count = member.sum(dim=-1)
    return (member @ tokens) / count.clamp(min=1)[..., None], (count > 0).to(tokens.dtype)


def _standardised(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    return (x - x.mean(dims, keepdim=True)) / (x.std(dims, keepdim=True) + 1e-3)
