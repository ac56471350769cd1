"""Settings of the service; the options of ``astune serve`` are made from these fields."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr, field_validator
from typing_extensions import override

from astune.environment import usable_cores
from astune.errors import ConfigError
from astune.extras import install_command, missing_packages
from astune.names import Precision, Runtime
from astune.printable import printable
from astune.validated import Validated

_PACKAGES = ("fastapi", "uvicorn", "python_multipart", "prometheus_client", "watchfiles")
MIB = 2**20


class ServeSettings(Validated):
    """Settings of a service; invalid values raise :class:`SettingsError`, a ``ConfigError``."""

    adapters: tuple[str, ...] = Field(
        (), description="adapter folders, hub ids or .onnx files; NAME=PATH gives one a name"
    )
    adapters_dir: Path | None = Field(
        None,
        description="folder of adapters; the service watches it, and loads and removes adapters as the folder changes",
    )
    host: str = Field(
        "127.0.0.1", min_length=1, description="address to listen on; 0.0.0.0 for all addresses of this machine"
    )
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0 for any free port")
    max_batch: int = Field(
        16, ge=1, le=4096, description="largest number of windows in one batch; a batch may mix adapters"
    )
    max_wait_ms: float = Field(
        5.0,
        ge=0,
        le=10_000,
        description="longest time in milliseconds that a window waits for others to fill its batch",
    )
    max_queue: int = Field(
        256, ge=1, description="largest number of windows waiting or in work; requests above it get status 429"
    )
    max_upload_mb: float = Field(100.0, gt=0, description="largest request in MiB; larger ones get status 413")
    max_seconds: float = Field(3600.0, gt=0, description="longest recording in seconds; longer ones get status 413")
    max_input_seconds: float = Field(
        30.0, gt=0, description="longest input of an adapter in seconds; adapters with longer inputs are not loaded"
    )
    max_windows: int = Field(
        20_000,
        ge=1,
        description="largest number of windows per recording, over all its adapters; recordings with more get status 413",
    )
    max_files: int = Field(64, ge=1, le=1000, description="largest number of files in one batch request")
    decode_seconds: float = Field(
        60.0, gt=0, description="longest time in seconds to decode one recording; slower ones get status 422"
    )
    upload_seconds: float = Field(
        300.0, gt=0, description="longest time in seconds to receive one request; slower ones get status 408"
    )
    drain_seconds: int = Field(
        30, ge=0, description="longest time in seconds to finish open requests when the service stops"
    )
    threads: int | None = Field(
        None, ge=1, description="number of threads that decode recordings; by default two per core"
    )
    token: SecretStr | None = Field(
        None, description="secret that allows adding and deleting adapters; without it nobody can. Or set ASTUNE_TOKEN"
    )
    cors_origin: tuple[str, ...] = Field(
        (), description="web origin whose pages may call the service, such as https://example.org; may be repeated"
    )
    runtime: Runtime | None = Field(
        None,
        description="what runs the model; by default onnx for adapters that were exported, and torch for all others",
    )
    backbone: str | None = Field(
        None, description="hub id or folder of the backbone; by default the one that the adapters name"
    )
    device: str | None = Field(
        None, description="device to compute on, such as cpu or cuda:1; by default the GPU if there is one"
    )
    precision: Precision | None = Field(
        None, description="precision of matrix products; by default the one each adapter was trained with"
    )

    @field_validator("token")
    @classmethod
    def _not_guessed(cls, token: SecretStr | None) -> SecretStr | None:
        """Refuse a token that is easy to guess or that clients cannot send.

        Raises:
            ValueError: the token is too short, or clients cannot send it.
        """
        if token is not None and len(token.get_secret_value()) < 8:
            raise ValueError("give at least 8 characters, such as those of `openssl rand -hex 16`")
        if token is not None and (printable(token.get_secret_value()) != token.get_secret_value().strip()):
            raise ValueError("clients cannot send it, because it begins or ends with a space or has control characters")
        return token

    @classmethod
    @override
    def _headline(cls) -> str:
        return "the service"

    @property
    def max_upload_bytes(self) -> int:
        """Largest size of a request in bytes."""
        return int(self.max_upload_mb * MIB)

    @property
    def decoders(self) -> int:
        """Number of threads that decode recordings."""
        return self.threads or 2 * usable_cores()


def refuse_missing_packages() -> None:
    """Refuse to serve if a package that the service needs is not installed.

    Raises:
        ConfigError: a package is missing.
    """
    missing = missing_packages(*_PACKAGES)
    if missing:
        raise ConfigError(
            f"the service needs packages that are not installed ({', '.join(missing)}); {install_command('serve')}"
        )
