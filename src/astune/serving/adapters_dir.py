"""A folder of adapters that is watched: what is put into it is served, what is taken out of it is not.

A folder ``NAME`` is an adapter, and so is a graph ``NAME.onnx``; names that begin with a dot are left alone. What is there is looked at
whenever something changes, and every few seconds, for file systems that do not report changes.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, TypeAlias

from filelock import FileLock, Timeout
from watchfiles import awatch

from astune.errors import AstuneError, ConfigError, NumericalError, OutputError, explain_write_errors
from astune.files import move, sync_folder, sync_tree
from astune.folder_lock import LOCK
from astune.names import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from astune.printable import printable
from astune.serving.log import log
from astune.serving.problems import Problem, problem_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from astune.serving.adapters import Adapters
    from astune.serving.served import Served
    from astune.serving.uploads import Upload

    Signature: TypeAlias = tuple[tuple[str, int, int, int], ...]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")  # of adapters that clients add
_GRAPH = ".onnx"
_CARD = "README.md"
_FILES = (ADAPTER_CONFIG, ADAPTER_WEIGHTS, _CARD)
_LOOK, _DEBOUNCE = (
    5_000,
    200,
)  # milliseconds between two looks where nothing is reported, and of quiet before one where something is
_WAY_OUT = "free some disk, or let the service write there"
_ADDING, _DELETING, _OLD = ".adding-", ".deleting-", "old"  # folders of changes, and in them what loses its name


class AdaptersDir:
    """The adapters of a folder.

    Args:
        folder: the folder of them.
        adapters: adapters that are served.
        taken: names that the folder's adapters cannot have.

    Raises:
        ConfigError: it is not a folder.
    """

    def __init__(self, folder: Path, adapters: Adapters, taken: Iterable[str]) -> None:
        if not folder.is_dir():
            raise ConfigError(f"{printable(folder)} is not a folder; make it, or give another folder of adapters")
        self._folder, self._adapters, self._taken = folder.resolve(), adapters, frozenset(taken)
        self._seen: dict[str, tuple[Path, Signature]] = {}
        self._changing = asyncio.Lock()
        self._readable = True
        with suppress(OSError):  # where the service may not write, it changes nothing either
            _restore(self._folder)

    async def look(self) -> None:
        """Serve what is there now."""
        async with self._changing:
            try:
                found, twice = await asyncio.to_thread(_entries, self._folder)
            except OSError as fault:
                if self._readable:
                    log(f"{printable(self._folder)} cannot be read: {fault.strerror}; its adapters stay as they are")
                self._readable = False
                return
            self._readable = True
            for name in self._seen.keys() - found.keys():
                del self._seen[name]
                self._adapters.remove(name)
            for name, entry in found.items():
                if self._seen.get(name) == entry:
                    continue
                self._seen[name] = entry
                if name in self._taken:
                    self._adapters.report(
                        name, f"{entry[0].name}: an adapter given at the start of the service has this name"
                    )
                elif printable(name) != name:
                    self._adapters.report(name, "its name cannot be shown or typed; rename it")
                elif name in twice:
                    self._adapters.report(name, f"{name} and {name}{_GRAPH} have the same name; rename one of them")
                else:
                    await self._adapters.load_or_report(name, str(entry[0]))

    async def watch(self) -> None:
        """Look whenever something may have changed, until it is cancelled."""
        async for _ in self._changes():
            await self.look()

    async def _changes(self) -> AsyncIterator[None]:
        """Whenever something may have changed; every few seconds where the system cannot report changes, as of a name that is not UTF-8."""
        changes = awatch(
            self._folder,
            watch_filter=None,
            debounce=_DEBOUNCE,
            rust_timeout=_LOOK,
            yield_on_timeout=True,
            ignore_permission_denied=True,
        )
        try:
            async for _ in changes:
                yield
        except Exception as fault:  # noqa: BLE001 - whatever it is, the folder can be looked at
            while isinstance(fault, ExceptionGroup):
                fault = fault.exceptions[0]
            log(
                f"changes of {printable(self._folder)} are no longer reported ({fault}); the folder is checked every {_LOOK / 1000:g} s"
            )
        while True:
            await asyncio.sleep(_LOOK / 1000)
            yield

    async def put(self, name: str, uploads: Sequence[Upload]) -> Served:
        """Add an adapter that a client sent, in the place of the one of its name if there is one; it is served when this returns.

        Args:
            name: name of the adapter.
            uploads: ``adapter_config.json`` and ``adapter_model.safetensors``, or one ``.onnx`` file.

        Returns:
            The adapter.

        Raises:
            OutputError: the folder cannot be written.
            Problem: a name, files or an adapter that cannot be used; the folder is as it was.
        """
        self._refuse(name)
        content = _content(uploads)
        async with self._changing:
            with explain_write_errors(printable(self._folder), _WAY_OUT):
                staging = Path(await asyncio.to_thread(mkdtemp, prefix=_ADDING, dir=self._folder))
                lock = _taken(staging)
            try:
                made = staging / (f"{name}{_GRAPH}" if isinstance(content, Path) else name)
                with explain_write_errors(printable(made), _WAY_OUT):
                    await asyncio.to_thread(_fill, made, content)
                served = await self._prepared(name, made)
                try:
                    with explain_write_errors(printable(self._folder / made.name), _WAY_OUT):
                        await asyncio.to_thread(_replace, self._folder, name, made, staging)
                except OutputError:
                    self._adapters.drop(served)
                    raise
            finally:
                await asyncio.to_thread(shutil.rmtree, staging, ignore_errors=True)
                lock.release()
            served.path = str(self._folder / made.name)
            self._adapters.publish(served)
            entries, _ = await asyncio.to_thread(_entries, self._folder)
            if name in entries:
                self._seen[name] = entries[name]
            return served

    async def delete(self, name: str) -> None:
        """Delete an adapter of the folder.

        Args:
            name: name of the adapter.

        Raises:
            OutputError: it cannot be deleted.
            Problem: no adapter has this name.
        """
        self._refuse(name)
        async with self._changing:
            entries, _ = await asyncio.to_thread(_entries, self._folder)
            if name not in entries:
                raise Problem(404, f"unknown adapter {printable(name)!r}; GET /v1/adapters lists all adapters")
            with explain_write_errors(printable(entries[name][0]), "let the service write there"):
                staging = Path(await asyncio.to_thread(mkdtemp, prefix=_DELETING, dir=self._folder))
                lock = _taken(staging)
                await asyncio.to_thread(_take_out, self._folder, name, staging)
            await asyncio.to_thread(shutil.rmtree, staging, ignore_errors=True)
            lock.release()
            self._seen.pop(name, None)
            self._adapters.remove(name)

    async def _prepared(self, name: str, made: Path) -> Served:
        try:
            return await self._adapters.prepare(name, str(made))
        except AstuneError as fault:
            status = 422 if isinstance(fault, NumericalError) else problem_of(fault).status  # it is the client's
            raise Problem(status, str(fault).replace(str(made), name)) from fault

    def _refuse(self, name: str) -> None:
        if not _NAME.fullmatch(name) or name.endswith(_GRAPH):
            raise Problem(
                422,
                f"adapter name {printable(name)!r}: give 1 to 100 letters, digits, dots, dashes and underscores; a letter or digit first",
            )
        if name in self._taken:
            raise Problem(
                409,
                f"adapter {name!r} was given when the service was started; stop the service to change it, or give another name",
            )


def _entries(folder: Path) -> tuple[dict[str, tuple[Path, Signature]], set[str]]:
    """Adapters of a folder by name, with what tells whether they changed; and names that two of them have."""
    found: dict[str, tuple[Path, Signature]] = {}
    twice = set()
    for path in sorted(folder.iterdir()):
        graph = path.suffix == _GRAPH and path.is_file()
        if path.name.startswith(".") or not (graph or path.is_dir()):
            continue
        name = path.stem if graph else path.name
        if name in found:
            twice.add(name)
        found[name] = path, found.get(name, (path, ()))[1] + tuple(_signature([path] if graph else _inside(path)))
    return found, twice


def _inside(folder: Path) -> list[Path]:
    """Files of an adapter; where they may not be listed, or it is gone meanwhile, none: whoever loads it says so."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _signature(files: Iterable[Path]) -> Iterable[tuple[str, int, int, int]]:
    for file in files:
        with suppress(OSError):  # it is gone meanwhile: the next look sees that
            state = file.stat()
            yield file.name, state.st_size, state.st_mtime_ns, state.st_ino


def _content(uploads: Sequence[Upload]) -> dict[str, Path] | Path:
    """Files by our names for them, or the one graph.

    Raises:
        Problem: they are no adapter.
    """
    names = [upload.name for upload in uploads]
    if len(uploads) == 1 and names[0].endswith(_GRAPH):
        return uploads[0].path
    wanted = f"send {ADAPTER_CONFIG} and {ADAPTER_WEIGHTS}, each as a part named file ({_CARD} may come too), or one {_GRAPH} file"
    if len(set(names)) != len(names):
        raise Problem(422, f"a file was sent twice; {wanted}")
    strange = sorted(set(names) - set(_FILES))
    missing = sorted({ADAPTER_CONFIG, ADAPTER_WEIGHTS} - set(names))
    if strange or missing:
        fault = f"{strange[0]!r} is not a file of an adapter" if strange else f"{missing[0]} is missing"
        raise Problem(422, f"{fault}; {wanted}")
    return {name: upload.path for name, upload in zip(names, uploads, strict=True)}


def _fill(made: Path, content: dict[str, Path] | Path) -> None:
    if isinstance(content, Path):
        shutil.copyfile(content, made)
        return
    made.mkdir()
    for name in _FILES:
        if name in content:
            shutil.copyfile(content[name], made / name)


def _replace(folder: Path, name: str, made: Path, staging: Path) -> None:
    """Give an adapter its name; the one before is put back where that fails.

    Raises:
        OSError: the one before cannot be taken out.
        OutputError: the new one cannot get its name.
    """
    sync_tree(staging)  # so that nothing is waited for between the two renames
    _take_out(folder, name, staging)
    try:
        move(made, folder / made.name)
    except OutputError:
        _put_back(folder, staging)
        raise


def _take_out(folder: Path, name: str, staging: Path) -> None:
    """Take an adapter's name away; it has it again where that fails, because what is in the staging folder is deleted.

    Raises:
        OSError: it fails.
    """
    (staging / _OLD).mkdir()
    try:
        for old in (folder / name, folder / f"{name}{_GRAPH}"):
            if old.exists() or old.is_symlink():
                old.rename(staging / _OLD / old.name)
        sync_folder(staging / _OLD)
        sync_folder(folder)
    except OSError:
        _put_back(folder, staging)
        raise


def _put_back(folder: Path, staging: Path) -> None:
    for old in (staging / _OLD).iterdir():
        if not (folder / old.name).exists():
            old.rename(folder / old.name)
    sync_folder(folder)


def _taken(staging: Path) -> FileLock:
    """Say that a folder is in use, so that no service that starts takes it for what a killed one left."""
    lock = FileLock(staging / LOCK)
    lock.acquire()
    return lock


def _restore(folder: Path) -> None:
    """Clear up what a service that was killed left. An adapter that had lost its name and was not replaced yet gets it back.

    Raises:
        OSError: it cannot be done.
    """
    for staging in (*folder.glob(f"{_ADDING}*"), *folder.glob(f"{_DELETING}*")):
        try:
            with FileLock(staging / LOCK, timeout=0):
                names = {path.name for path in staging.iterdir()}
                if _OLD in names and names - {_OLD, LOCK}:  # what was to take its place is still here
                    _put_back(folder, staging)
                shutil.rmtree(staging)
        except Timeout:  # of another service, which runs
            continue
