"""Share an adapter on the Hugging Face hub, without what belongs to the machine that trained it."""

from __future__ import annotations

import io
import json
import re
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, BinaryIO

from typing_extensions import override

from astune import adapter_file
from astune.adapter import Adapter, AdapterConfig
from astune.backbone.hub import is_hub_id, is_revision
from astune.backbone.licence import licence_of
from astune.card_data import merged_card, own_text
from astune.card_front import front_of
from astune.console import announcer
from astune.errors import ConfigError, HubError, format_faults
from astune.files import user_path, write_text
from astune.hub_repository import HubRepository
from astune.model_card import model_card
from astune.names import BUNDLED_BACKBONE
from astune.public import private_paths, public_config
from astune.summary import Summarised, Summary
from astune.validated import strict_constructor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

OURS = (adapter_file.CARD, adapter_file.CONFIG, adapter_file.WEIGHTS)
_LICENSE = re.compile(r"[a-z0-9][a-z0-9.-]*")  # as the hub writes them: apache-2.0, cc-by-4.0, other
_BLOCK = 1 << 20  # bytes that are searched at a time


@strict_constructor
@dataclass(frozen=True, repr=False)
class Pushed(Summarised):
    """What was shared, and where."""

    repo_id: str
    """``user/name``."""
    url: str
    """Page of the repository."""
    revision: str
    """The branch."""
    commit: str
    """40 hexadecimal digits."""
    private: bool
    """Whether only those may read it who may see the repository."""
    files: tuple[str, ...]
    """Files that were written."""
    notices: tuple[str, ...] = ()
    """What was shortened, left unchanged or is missing, in one sentence each."""

    @override
    def _summary(self) -> Summary:
        shown = "private" if self.private else "public"
        rows = (
            ("page", self.url), ("branch", self.revision), ("commit", self.commit[:12]), ("visible", shown),
            ("files", ", ".join(self.files)),
        )  # fmt: skip
        return Summary("Pushed", self.repo_id, (shown, self.url), rows, notices=self.notices)

    def record(self) -> dict[str, Any]:
        """What was shared, as JSON."""
        return asdict(self)


def push_to_hub(
    adapter: str | Path | Adapter,
    repo_id: str,
    *,
    private: bool = False,
    revision: str | None = None,
    license: str | None = None,  # noqa: A002 - the hub's own word
    base_model: str | None = None,
    include: Sequence[str] = (),
    commit_message: str = "Upload adapter with astune",
    token: str | None = None,
    quiet: bool = False,
) -> Pushed:
    """Share an adapter on the Hugging Face hub: weights, configuration and model card, in one commit.

    The copy holds no path of this machine: data and backbone keep their name alone. What people wrote into the repository's model card
    around astune's part stays there.

    Args:
        adapter: an adapter folder, the hub id of one, or an adapter in memory.
        repo_id: ``user/name``; made if it is not there.
        private: make a new repository private.
        revision: branch to write to, made if it is not there; ``main`` where None.
        license: license of the adapter, in the hub's words, such as ``"cc-by-4.0"``; by default that of the repository's card.
        base_model: hub id of the backbone, where the adapter names a folder.
        include: names of further files of the folder to share, such as ``["model.onnx"]``.
        commit_message: first line of the commit.
        token: the token of the hub; where None, HF_TOKEN or the one that ``hf auth login`` saved.
        quiet: announce nothing; the notices are in what is returned.

    Returns:
        Where it is, and what was left out.

    Raises:
        AdapterError: it is not an adapter.
        ConfigError: a name, a licence or a revision that can be none, or a file that is not in the folder.
        HubError: there is no token, the hub refuses or cannot be reached, or a file contains a path of this machine.
    """
    _refuse_unusable(repo_id, revision, license, base_model)
    value = adapter if isinstance(adapter, Adapter) else adapter_file.read(adapter)
    folder = None if isinstance(adapter, Adapter) else user_path(adapter)
    further = _further(folder, include)
    written = _card_of_people(folder)
    _refuse_private(further, own_text(written or ""), private_paths(value.config))
    config, notices = public_config(_on(value.config, base_model))
    with tempfile.TemporaryDirectory() as temporary:
        copies = Path(temporary)
        adapter_file.write(copies, replace(value, config=config))
        repository = HubRepository.opened(repo_id, revision, token, private=private)
        theirs = repository.card(copies / "before") or written
        card = _card(config, repository.repo_id, license, theirs)
        write_text(copies / adapter_file.CARD, card)
        files = {**{name: copies / name for name in OURS}, **further}
        notices += [*_missing(config, card), *_left(repository, files)]
        commit, remarks = repository.commit(files, commit_message, quiet=quiet)
    if commit == repository.head:
        remarks.append("nothing has changed since the last commit, so there is no new one")
    notices += remarks
    for notice in notices:
        announcer(quiet=quiet)(f"Note: {notice}")
    return Pushed(
        repository.repo_id,
        repository.url,
        repository.revision,
        commit,
        repository.private,
        tuple(files),
        tuple(notices),
    )


def _refuse_unusable(repo_id: str, revision: str | None, license_id: str | None, base_model: str | None) -> None:
    faults = []
    if not is_hub_id(repo_id, here=False) or "@" in repo_id:
        faults.append(
            f"repo_id={repo_id!r}: give 'user/name' of letters, digits and - _ . as the hub has them, such as 'user/birds'"
        )
    if revision is not None and not is_revision(revision):
        faults.append(f"revision={revision!r} is not the name of a branch, such as 'v2'")
    if license_id is not None and not _LICENSE.fullmatch(license_id):
        faults.append(
            f"license={license_id!r}: give the hub's word for it, such as 'apache-2.0', 'cc-by-4.0' or 'other'"
        )
    if base_model is not None and not is_hub_id(base_model, here=False):
        faults.append(f"base_model={base_model!r}: give the hub id of the backbone, such as 'user/name'")
    if faults:
        raise ConfigError(format_faults(faults, "push_to_hub"))


def _on(config: AdapterConfig, base_model: str | None) -> AdapterConfig:
    """A configuration that names its backbone by its hub id; the fingerprint refuses other weights."""
    if base_model is None:
        return config
    return config.model_copy(update={"backbone": config.backbone.model_copy(update={"name_or_path": base_model})})


def _further(folder: Path | None, include: Sequence[str]) -> dict[str, Path]:
    """Files that are shared in addition to the adapter's own, by their names in the repository.

    Raises:
        ConfigError: a file is not in the folder, or the folder does not exist.
    """
    if include and (folder is None or not folder.is_dir()):
        raise ConfigError(
            "include names files of the adapter's folder, and the adapter is not a local folder; leave it out"
        )
    found = {}
    for name in include:
        parts = PurePath(name).parts
        if PurePath(name).is_absolute() or ".." in parts or name in OURS:
            raise ConfigError(f"include={name!r}: give the name of a further file in {folder}, such as 'model.onnx'")
        path = Path(folder or "", name)
        if not path.is_file():
            raise ConfigError(f"include={name!r} is not a file in {folder}")
        found["/".join(parts)] = path
    return found


def _card_of_people(folder: Path | None) -> str | None:
    """The folder's card, if somebody wrote into it."""
    card = folder / adapter_file.CARD if folder else None
    text = card.read_text(encoding="utf-8", errors="replace") if card and card.is_file() else ""
    return text if own_text(text) else None


def _card(config: AdapterConfig, repo_id: str, license_id: str | None, theirs: str | None) -> str:
    """The card of the shared adapter: ours, in what people wrote around it."""
    stated = front_of(theirs).get("license") if theirs else None
    chosen = license_id or (stated if isinstance(stated, str) else None)
    base = licence_of(config.backbone.name_or_path, ask=True)
    return merged_card(model_card(config, repo_id=repo_id, license_id=chosen, base_license=base), theirs)


def _missing(config: AdapterConfig, card: str) -> list[str]:
    """What others will miss."""
    name, notices = config.backbone.name_or_path, []
    if "license" not in front_of(card):
        notices.append(
            "no licence is stated, so nobody knows what they may do with it; give license, such as 'cc-by-4.0'"
        )
    if not (name == BUNDLED_BACKBONE or name.startswith("random:") or is_hub_id(name)):
        notices.append(
            f"others have no backbone of the name {name!r}; share it too, or give base_model, the hub id of the same weights"
        )
    return notices


def _left(repository: HubRepository, files: Mapping[str, Path]) -> list[str]:
    others = repository.others(files)
    if not others:
        return []
    return [
        f"{repository.repo_id} also has {', '.join(others)}, which stay as they are; they may be of another version"
    ]


def _refuse_private(files: Mapping[str, Path], card: str, paths: Sequence[str]) -> None:
    """Refuse files as they are, and what people wrote into the card, that hold a path of this machine.

    Raises:
        HubError: one does.
    """
    held = {name: _held(file.open("rb"), paths) for name, file in files.items()}
    held[adapter_file.CARD] = _held(io.BytesIO(card.encode()), paths)
    faults = [f"{name} holds {path!r}" for name, some in held.items() for path in some]
    if faults:
        raise HubError(
            format_faults(faults, "nothing was uploaded, because everybody would read a path of this machine")
            + "\nTake it out, or leave the file out"
        )


def _held(stream: BinaryIO, paths: Sequence[str]) -> list[str]:
    """The paths that a file holds, as they are or as JSON writes them; of those within another, the longest."""
    wanted = {path: {path.encode(), json.dumps(path)[1:-1].encode()} for path in paths}
    longest = max((len(form) for forms in wanted.values() for form in forms), default=0)
    found, tail = set(), b""
    with stream:
        while block := stream.read(_BLOCK):
            tail = tail[-longest:] + block
            found |= {path for path, forms in wanted.items() if any(form in tail for form in forms)}
    return sorted(path for path in found if not any(path != other and path in other for other in found))
