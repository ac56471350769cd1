"""Files of a model: in a local folder, in the Hugging Face cache, or on the hub, and a quick, plain answer where they are not.

``from_pretrained`` retries for most of a minute before it says that there is no network; a user at a prompt should know in
seconds. So: the local folder if there is one, else the cache without asking anybody, else one short question to the hub.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from astune.errors import AstuneError, BackboneError
from astune.reachability import ask

if TYPE_CHECKING:
    from collections.abc import Sequence


def find_files(
    name_or_path: str, required: Sequence[str], optional: Sequence[str] = (), error: type[AstuneError] = BackboneError
) -> dict[str, Path]:
    """Find, or fetch, the files of a model or an adapter.

    Args:
        name_or_path: a local folder, or a hub id ``owner/name``.
        required: file names that must be there.
        optional: file names that are taken along when they are there.
        error: what to raise.

    Returns:
        The path of each file found.

    Raises:
        AstuneError: as ``error``, the folder lacks a required file, or the hub cannot be reached or has no such repository.
    """
    folder = Path(name_or_path).expanduser()
    if folder.is_dir():
        missing = [name for name in required if not (folder / name).is_file()]
        if missing:
            raise error(f"{folder} has no {' and no '.join(missing)}; {_contents(folder)}")
        return {name: folder / name for name in (*required, *optional) if (folder / name).is_file()}
    if not _looks_like_hub_id(name_or_path):
        raise error(
            f"there is no folder {name_or_path!r} (looked in {Path.cwd()}), and it is not a hub id 'owner/name' to look for in HF_HOME "
            "or on the hub; give a folder that is there, a hub id, or, for a backbone, bundled"
        )
    return _cached(name_or_path, required, optional) or _download(name_or_path, required, optional, error)


def _contents(folder: Path) -> str:
    names = sorted(entry.name for entry in folder.iterdir())
    return f"it holds {', '.join(names[:8])}{' ...' if len(names) > 8 else ''}" if names else "it is empty"


def _looks_like_hub_id(name: str) -> bool:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return name.count("/") == 1


def _cached(repo: str, required: Sequence[str], optional: Sequence[str]) -> dict[str, Path] | None:
    from huggingface_hub import try_to_load_from_cache

    found = {name: try_to_load_from_cache(repo, name) for name in (*required, *optional)}
    paths = {name: Path(path) for name, path in found.items() if isinstance(path, str)}
    return paths if all(name in paths for name in required) else None


def _download(repo: str, required: Sequence[str], optional: Sequence[str], error: type[AstuneError]) -> dict[str, Path]:
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError

    ways_out = (
        f"The cache {constants.HF_HUB_CACHE} does not hold it either. Ways out: copy the repository's files to a "
        "folder and give the folder's path; set HF_HOME to a cache that holds it; or use another backbone, such as bundled"
    )
    fault = _why_unreachable(repo, required[0])
    if fault:
        raise error(
            f"{repo!r} is no local folder, and cannot be had from the hub {constants.ENDPOINT}: {fault}. {ways_out}"
        )
    paths: dict[str, Path] = {}
    for name in (*required, *optional):
        try:
            paths[name] = Path(hf_hub_download(repo, name))
        except (HfHubHTTPError, OSError) as problem:
            if name in required:
                raise error(f"could not fetch {name} of {repo!r} from {constants.ENDPOINT}: {problem}") from problem
    return paths


def _why_unreachable(repo: str, filename: str) -> str | None:
    """Ask the hub for one file's headers, once."""
    from huggingface_hub import constants, hf_hub_url
    from huggingface_hub.utils._headers import build_hf_headers

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    answer = ask(hf_hub_url(repo, filename), build_hf_headers())
    if isinstance(answer, str):
        return f"no answer ({answer})"
    if answer in (401, 403):
        return f"it has no {repo!r} that you may read (check the name, or log in with 'hf auth login')"
    return f"it answered {answer} when asked for {filename}" if answer >= 400 else None
