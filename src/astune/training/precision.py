"""Moved."""

from astune.backbone.arithmetic import has_bf16 as has_bf16
