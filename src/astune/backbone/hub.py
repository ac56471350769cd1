"""Files of a model: in a local folder, in the Hugging Face cache, or on the hub, and a quick, plain answer where they are not.

``from_pretrained`` retries for most of a minute before it says that there is no network; a user at a prompt should know in
seconds. So: the local folder if there is one, else the cache without asking anybody, else one short question to the hub. The
answer names a commit, and all files are of that commit.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from astune.console import notify
from astune.errors import AstuneError, BackboneError, ConfigError, OutputError, shorten
from astune.files import local_folder, write_text
from astune.hub_faults import hub_exceptions, hub_fault
from astune.reachability import PROBE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_REVISION = "main"
_COMMIT = re.compile("[0-9a-f]{40}")
_REVISION = re.compile(
    r"(?!.*(?:\.\.|//|/\.|@\{))[\w][\w./+-]*(?<![./])"
)  # as git names branches and tags; becomes a path in the cache


def at_revision(name_or_path: object, revision: str | None) -> str:
    """The name of a repository's revision, ``user/name@revision``, which is taken wherever a hub id is.

    Args:
        name_or_path: a hub id; or a folder or a value in memory, where there is no revision.
        revision: branch, tag or commit; the default branch where None.

    Returns:
        One name.

    Raises:
        ConfigError: the revision is does not belong to a folder, is not valid, or is given twice.
    """
    name = str(name_or_path)
    if revision is None:
        return name
    if not isinstance(name_or_path, str | Path):
        raise ConfigError(f"revision={revision!r} does not apply to a model in memory; leave it out")
    if "@" in name and _repository(name):
        raise ConfigError(
            f"revision={revision!r} is given, and {name!r} already names a revision; leave one of them out"
        )
    if not is_hub_id(name):
        raise ConfigError(f"revision={revision!r} is given, and {name!r} is not a hub id 'owner/name'; leave it out")
    if not isinstance(revision, str) or not is_revision(revision):
        raise ConfigError(f"revision={revision!r} is not a branch, a tag or a commit, such as 'main' or 'v1.0'")
    return f"{name}@{revision}"


def is_hub_id(name: str, *, here: bool = True) -> bool:
    """Whether a name can be a repository's, ``owner/name``, with or without ``@revision``.

    Args:
        name: of a model.
        here: whether a folder of this name comes before it, as where models are loaded.
    """
    return _repository(name) is not None and not (here and local_folder(name))


def is_revision(name: str) -> bool:
    """Whether a name can be a branch, a tag or a commit.

    Args:
        name: any.
    """
    return _REVISION.fullmatch(name) is not None


def find_files(
    name_or_path: str, required: Sequence[str], optional: Sequence[str] = (), error: type[AstuneError] = BackboneError
) -> dict[str, Path]:
    """Find, or fetch, the files of a model or an adapter.

    Args:
        name_or_path: a local folder, or a hub id ``owner/name`` or ``owner/name@revision``.
        required: file names that must be there.
        optional: file names that are taken along when they are there.
        error: what to raise.

    Returns:
        The path of each file found; those from the hub are of one commit.

    Raises:
        AstuneError: as ``error``, the folder lacks a required file, or the hub cannot be reached or has no such repository.
    """
    folder = local_folder(name_or_path)
    if folder is not None:
        missing = [name for name in required if not (folder / name).is_file()]
        if missing:
            raise error(f"{folder} has no {' and no '.join(missing)}; {_contents(folder)}")
        return {name: folder / name for name in (*required, *optional) if (folder / name).is_file()}
    found = _repository(name_or_path)
    if found is None:
        raise error(
            f"there is no folder {shorten(repr(name_or_path))} (looked in {Path.cwd()}), and it is not a hub id 'owner/name' to look "
            f"for in HF_HOME or on the hub; give {_choices(error)}"
        )
    return _of_repository(name_or_path, *found, required, optional, error)


def find_cached(name: str, filename: str) -> Path | None:
    """Find a file of a repository in the cache, without asking the hub.

    Args:
        name: a hub id.
        filename: of the file.

    Returns:
        Where it is; None where it is not there.
    """
    found = _repository(name)
    commit = _cached_commit(*found) if found else None
    return _cached(found[0], commit, [filename])[0].get(filename) if found and commit else None


def forget_revision(repo: str, revision: str) -> None:
    """Let the cache ask for a branch again, after it was changed from here.

    Args:
        repo: a hub id.
        revision: the branch.
    """
    _reference(repo, revision).unlink(missing_ok=True)


def _contents(folder: Path) -> str:
    names = sorted(entry.name for entry in folder.iterdir())
    return f"it holds {', '.join(names[:8])}{' ...' if len(names) > 8 else ''}" if names else "it is empty"


def _repository(name: str) -> tuple[str, str] | None:
    """Hub id and revision of a name; None where it is neither."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    repo, at, revision = name.partition("@")
    try:
        validate_repo_id(repo)
    except HFValidationError:
        return None
    if repo.count("/") != 1 or (at and not _REVISION.fullmatch(revision)):
        return None
    return repo, revision or DEFAULT_REVISION


def _of_repository(
    name: str, repo: str, revision: str, required: Sequence[str], optional: Sequence[str], error: type[AstuneError]
) -> dict[str, Path]:
    """Files of one commit: of the cached one if the cache has all that is asked for, else of the one the hub names."""
    commit = _cached_commit(repo, revision)
    paths, absent = _cached(repo, commit, [*required, *optional]) if commit else ({}, set())
    usable = all(file in paths for file in required)
    unknown = [file for file in optional if file not in paths and file not in absent]
    if usable and not unknown:
        return paths
    try:
        # What is usable but for an optional file is completed, and not replaced by a newer commit.
        return _fetch(repo, commit if usable and commit else revision, revision, required, optional)
    except hub_exceptions() as fault:
        why = hub_fault(fault, name)
        if usable:
            notify(f"Note: {name} is taken from the cache without {', '.join(unknown)}, which it may have: {why}")
            return paths
        raise error(_unavailable(name, why, error)) from fault


def _choices(error: type[AstuneError]) -> str:
    """What can be given instead; only a backbone can be the bundled one."""
    either = "a folder that is there, or a hub id"
    return "a folder that is there, a hub id, or bundled" if issubclass(error, BackboneError) else either


def _unavailable(name: str, why: str, error: type[AstuneError]) -> str:
    from huggingface_hub import constants

    backbone = issubclass(error, BackboneError)
    last = "or use another backbone, such as bundled" if backbone else "or check the name"
    return (
        f"{name!r} is not a local folder, and cannot be fetched from the hub {constants.ENDPOINT}: {why}. "
        f"The cache {constants.HF_HUB_CACHE} does not hold it either. Ways out: copy the repository's files to a "
        f"folder and give the folder's path; set HF_HOME to a cache that holds it; {last}"
    )


def _reference(repo: str, revision: str) -> Path:
    """Where the cache notes the commit of a branch or tag."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    return Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=repo, repo_type="model"), "refs", revision)


def _cached_commit(repo: str, revision: str) -> str | None:
    if _COMMIT.fullmatch(revision):
        return revision
    try:
        return _reference(repo, revision).read_text().strip() or None
    except OSError:
        return None


def _cached(repo: str, commit: str, names: Sequence[str]) -> tuple[dict[str, Path], set[str]]:
    """Files of a commit in the cache, and those that the commit is known not to have."""
    from huggingface_hub import try_to_load_from_cache

    found = {name: try_to_load_from_cache(repo, name, revision=commit) for name in names}
    paths = {name: Path(path) for name, path in found.items() if isinstance(path, str)}
    return paths, {name for name, path in found.items() if path is not None} - paths.keys()


def _fetch(repo: str, asked: str, revision: str, required: Sequence[str], optional: Sequence[str]) -> dict[str, Path]:
    """Ask the hub once, briefly, which commit it is, and fetch the files of that commit.

    Raises:
        OSError: the hub refuses, or is none.
        RemoteEntryNotFoundError: the commit lacks a required file.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import RemoteEntryNotFoundError

    url = hf_hub_url(repo, required[0], revision=asked)
    commit = get_hf_file_metadata(url, timeout=PROBE_SECONDS).commit_hash
    if commit is None:
        raise OSError("its answer names no commit (X-Repo-Commit); is HF_ENDPOINT a hub?")
    paths: dict[str, Path] = {}
    for name in (*required, *optional):
        try:
            paths[name] = Path(hf_hub_download(repo, name, revision=commit))
        except RemoteEntryNotFoundError:  # which no answer at all is not
            if name in required:
                raise
    if not _COMMIT.fullmatch(
        revision
    ):  # noted when all is there: a download that was cut off leaves the branch as it was
        reference = _reference(repo, revision)
        with suppress(OSError, OutputError):  # of a cache that may only be read: then the hub is asked again next time
            reference.parent.mkdir(parents=True, exist_ok=True)
            write_text(reference, commit)
    return paths
