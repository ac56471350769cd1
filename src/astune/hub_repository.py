"""A repository of the Hugging Face hub that files are written to, in one commit on what was read of it."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from logging import ERROR
from typing import TYPE_CHECKING

from astune.backbone.hub import DEFAULT_REVISION, forget_revision
from astune.console import is_terminal
from astune.errors import HubError
from astune.hub_faults import LOG_IN, hub_exceptions, hub_fault
from astune.reachability import ask

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from huggingface_hub import HfApi

_CARD = "README.md"
_OF_THE_HUB = {".gitattributes"}  # written by the hub itself


@dataclass(frozen=True)
class HubRepository:
    """A repository as it was found; :meth:`commit` refuses one that has changed since."""

    api: HfApi
    repo_id: str
    """``user/name``."""
    revision: str
    """The branch."""
    head: str
    """Its commit."""
    private: bool
    files: tuple[str, ...]
    """Files of the repository."""

    @classmethod
    def opened(cls, repo_id: str, revision: str | None, token: str | None, *, private: bool) -> HubRepository:
        """Find a repository, or make it.

        Args:
            repo_id: ``user/name``.
            revision: the branch, which is made if it is not there; ``main`` where None.
            token: the token of the hub; the user's own where None.
            private: make a new repository private.

        Returns:
            The repository.

        Raises:
            HubError: there is no token, the hub refuses or cannot be reached, or the repository exists and is public.
        """
        from huggingface_hub import HfApi

        api = HfApi(token=_token(token), library_name="astune", library_version=version("astune"))
        with _explained(repo_id):
            # None leaves a new repository to the organisation's own default.
            api.create_repo(repo_id, private=private or None, exist_ok=True)
            if revision and not revision.startswith("refs/"):
                api.create_branch(repo_id, branch=revision, exist_ok=True)
            info = api.model_info(repo_id, revision=revision or DEFAULT_REVISION)
        if private and not info.private:
            raise HubError(
                f"{repo_id} is there already and public, which private=True does not change; nothing was uploaded. Make it private on "
                f"{api.endpoint}/{repo_id}/settings, or give another name"
            )
        files = tuple(one.rfilename for one in info.siblings or ())
        return cls(api, repo_id, revision or DEFAULT_REVISION, str(info.sha), bool(info.private), files)

    @property
    def url(self) -> str:
        """Address of the repository's page."""
        return f"{self.api.endpoint}/{self.repo_id}"

    def card(self, folder: Path) -> str | None:
        """Read the repository's model card.

        Args:
            folder: folder for the download.

        Returns:
            Markdown; None where it has none.

        Raises:
            HubError: it cannot be fetched.
        """
        if _CARD not in self.files:
            return None
        with _explained(self.repo_id):
            path = self.api.hf_hub_download(self.repo_id, _CARD, revision=self.head, local_dir=folder)
        with open(path, encoding="utf-8", errors="replace", newline="") as stream:  # noqa: PTH123 - text as it is, on every system
            return stream.read()

    def others(self, names: Mapping[str, Path]) -> list[str]:
        """Files of the repository that are not part of a commit.

        Args:
            names: names of the commit.
        """
        return [name for name in self.files if name not in names and name not in _OF_THE_HUB]

    def commit(self, files: Mapping[str, Path], message: str, *, quiet: bool = False) -> tuple[str, list[str]]:
        """Write files, all or none of them.

        Args:
            files: files by their names in the repository.
            message: the first line.
            quiet: whether to show no progress bars; without a terminal on stderr there are none.

        Returns:
            The commit, and what the hub remarked.

        Raises:
            HubError: the hub cannot be reached or refuses, or the branch has changed in the meantime.
        """
        from huggingface_hub import CommitOperationAdd

        operations = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=path) for name, path in files.items()]
        bars = is_terminal() and not quiet
        with _explained(self.repo_id), _quiet_client(bars=bars), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            done = self.api.create_commit(
                self.repo_id, operations, commit_message=message, revision=self.revision, parent_commit=self.head
            )
        forget_revision(self.repo_id, self.revision)
        return done.oid, [" ".join(str(one.message).split()) for one in caught]


@contextmanager
def _quiet_client(*, bars: bool) -> Iterator[None]:
    """Silence the client's own lines, which :class:`astune.sharing.Pushed` has as notices, and its bars without a terminal."""
    from huggingface_hub import constants
    from huggingface_hub.utils import logging
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    hide = not (bars or are_progress_bars_disabled()) and constants.HF_HUB_DISABLE_PROGRESS_BARS is None
    verbosity = logging.get_verbosity()
    logging.set_verbosity(ERROR)
    if hide:
        disable_progress_bars()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if hide:
            enable_progress_bars()


def _token(given: str | None) -> str:
    """The user's token; after a short question, because the hub's client waits for an answer without end.

    Raises:
        HubError: there is no token, or the hub does not answer.
    """
    from huggingface_hub import constants, get_token

    if constants.HF_HUB_OFFLINE:
        raise HubError("nothing was uploaded: HF_HUB_OFFLINE is set; unset it to ask the hub")
    token = given or get_token()
    if not token:
        raise HubError(f"nothing was uploaded: there is no token of the hub; {LOG_IN}, with a token that may write")
    answer = ask(constants.ENDPOINT)
    if isinstance(answer, str):
        raise HubError(
            f"nothing was uploaded: no answer from the hub {constants.ENDPOINT} ({answer}); check the network and HF_ENDPOINT"
        )
    return token


@contextmanager
def _explained(repo_id: str) -> Iterator[None]:
    """Turn what the hub refuses into a sentence.

    Raises:
        HubError: it refused.
    """
    try:
        yield
    except hub_exceptions() as fault:
        raise HubError(f"nothing was uploaded to {repo_id}: {hub_fault(fault, repo_id, writing=True)}") from fault
