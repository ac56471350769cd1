"""Everything the service can be told; the options of ``astune serve`` are made from these fields."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr, field_validator

from astune.environment import usable_cores
from astune.errors import ConfigError
from astune.extras import install_command, missing_packages
from astune.names import Precision, Runtime
from astune.printable import printable
from astune.validated import Validated

_PACKAGES = ("fastapi", "uvicorn", "python_multipart", "prometheus_client", "watchfiles")
MIB = 2**20


class ServeSettings(Validated):
    """How a service runs; making one of values that cannot be used raises :class:`SettingsError`, a ``ConfigError``."""

    adapters: tuple[str, ...] = Field(
        (), description="adapter folders, hub ids or .onnx files; NAME=PATH gives one a name"
    )
    adapters_dir: Path | None = Field(
        None, description="folder of adapters that is watched: what is put into it is served, what is taken out is not"
    )
    host: str = Field("127.0.0.1", min_length=1, description="address to listen on; 0.0.0.0 for all of this machine")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0 for any that is free")
    max_batch: int = Field(16, ge=1, le=4096, description="windows that the model computes at a time, of any adapters")
    max_wait_ms: float = Field(
        5.0, ge=0, le=10_000, description="milliseconds that a window waits at most for others to share its batch"
    )
    max_queue: int = Field(
        256, ge=1, description="windows that may wait or be computed; beyond, requests get status 429"
    )
    max_upload_mb: float = Field(100.0, gt=0, description="MiB of a request at most; beyond, status 413")
    max_seconds: float = Field(3600.0, gt=0, description="seconds of a recording at most; beyond, status 413")
    max_input_seconds: float = Field(
        30.0, gt=0, description="seconds that an adapter hears at a time, at most; others are not loaded"
    )
    max_windows: int = Field(
        20_000,
        ge=1,
        description="windows of a recording at most, those of all its adapters together; beyond, status 413",
    )
    max_files: int = Field(64, ge=1, le=1000, description="files of one batch request at most")
    decode_seconds: float = Field(
        60.0, gt=0, description="seconds that decoding one recording may take; beyond, status 422"
    )
    upload_seconds: float = Field(
        300.0, gt=0, description="seconds that a request may take to arrive; beyond, status 408"
    )
    drain_seconds: int = Field(
        30, ge=0, description="seconds that a service that is told to stop goes on with what it has begun"
    )
    threads: int | None = Field(None, ge=1, description="threads that decode recordings; by default two for each core")
    token: SecretStr | None = Field(
        None, description="secret for adding and deleting adapters; without it nobody can. Or set ASTUNE_TOKEN"
    )
    cors_origin: tuple[str, ...] = Field(
        (), description="web origin whose pages may call the service, such as https://example.org; may be repeated"
    )
    runtime: Runtime | None = Field(
        None,
        description="what runs the model; by default onnx for adapters that were exported, and torch for all others",
    )
    backbone: str | None = Field(None, description="where the backbone is, if not where the adapters say")
    device: str | None = Field(
        None, description="where to compute, such as cpu or cuda:1; by default the GPU if there is one"
    )
    precision: Precision | None = Field(
        None, description="precision of matrix products; by default the one each adapter was trained with"
    )

    @field_validator("token")
    @classmethod
    def _not_guessed(cls, token: SecretStr | None) -> SecretStr | None:
        """An empty token would let everybody in.

        Raises:
            ValueError: it is too short.
        """
        if token is not None and len(token.get_secret_value()) < 8:
            raise ValueError("give at least 8 characters, such as those of `openssl rand -hex 16`")
        if token is not None and (printable(token.get_secret_value()) != token.get_secret_value().strip()):
            raise ValueError("clients cannot send it, because it begins or ends with a space or has control characters")
        return token

    @classmethod
    def _headline(cls) -> str:
        return "the service"

    @property
    def max_upload_bytes(self) -> int:
        """Largest size of a request in bytes."""
        return int(self.max_upload_mb * MIB)

    @property
    def decoders(self) -> int:
        """Threads that decode."""
        return self.threads or 2 * usable_cores()


def refuse_missing_packages() -> None:
    """Refuse to serve where what the service needs is not installed.

    Raises:
        ConfigError: something is missing.
    """
    missing = missing_packages(*_PACKAGES)
    if missing:
        raise ConfigError(
            f"the service needs packages that are not installed ({', '.join(missing)}); {install_command('serve')}"
        )
