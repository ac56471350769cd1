"""Adapters that clients send to `astune serve` and delete: after a kill the service has each of them, as it was or as it was to be."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from astune.serving import ServeSettings
from astune.serving.service import Service
from astune.serving.uploads import Upload
from tests.faults.kills import Command, assert_old_or_new, contents
from tests.faults.training import write_adapter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

_FILES = ("adapter_config.json", "adapter_model.safetensors")


def _prepare(folder: Path) -> None:
    (folder / "served").mkdir()
    for seed, name in enumerate(("sent", "served/replaced", "served/deleted")):
        write_adapter(folder / name, seed)


@asynccontextmanager
async def _service(folder: Path) -> AsyncIterator[Service]:
    service = Service(ServeSettings(adapters_dir=folder / "served", device="cpu"))
    await service.start()
    try:
        yield service
    finally:
        await service.stop()


async def _change(folder: Path) -> None:
    async with _service(folder) as service:
        assert service.folder is not None
        uploads = [Upload(name, folder / "sent" / name) for name in _FILES]
        for name in ("added", "replaced"):
            await service.folder.put(name, uploads)
        if service.adapters.get("deleted"):
            await service.folder.delete("deleted")


async def _look(folder: Path) -> None:
    async with _service(folder) as service:
        assert service.adapters.get("replaced"), "an adapter is lost that was to be replaced"
        assert not service.adapters.broken, service.adapters.broken
    assert not [path for path in (folder / "served").iterdir() if path.name.startswith(".")]


def _check(folder: Path) -> None:
    for path in (folder / "served").glob("[!.]*"):
        assert_old_or_new(folder, str(path.relative_to(folder)))
    asyncio.run(_look(folder))


COMMAND = Command(
    "serve",
    prepare=_prepare,
    run=lambda folder: asyncio.run(_change(folder)),
    again=lambda folder: asyncio.run(_change(folder)),
    check=_check,
    result=lambda folder: contents(folder / "served"),
)
