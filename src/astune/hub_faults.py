"""What can go wrong between here and the Hugging Face hub, in sentences with the next step."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

LOG_IN = "log in with 'hf auth login', or set HF_TOKEN"
"""What a user does who has no token, or another's."""


def hub_exceptions() -> tuple[type[Exception], ...]:
    """What the hub's client raises when it is refused, cut off, or misled."""
    from huggingface_hub.errors import HfHubHTTPError

    # Its first base is that of httpx or of httpx2, whichever this version of the client is built on.
    return HfHubHTTPError.__bases__[0], OSError, ValueError, RuntimeError


def hub_fault(fault: BaseException, name: str, *, writing: bool = False) -> str:
    """Describe why a request to the hub failed.

    Args:
        fault: one of :func:`hub_exceptions`.
        name: the name of the repository, with its revision where one was asked for: ``user/name`` or ``user/name@revision``.
        writing: whether something was to be changed there.

    Returns:
        A sentence without a full stop, with the next step.
    """
    from huggingface_hub import constants, errors

    chain = list(_causes(fault))
    if any(isinstance(one, errors.OfflineModeIsEnabled) for one in chain):
        return "HF_HUB_OFFLINE is set; unset it to ask the hub"
    answered = next((one for one in chain if isinstance(one, errors.HfHubHTTPError)), None)
    if answered is None:
        transport = next((one for one in chain if isinstance(one, errors.HfHubHTTPError.__bases__[0])), None)
        if transport is not None:
            return f"no answer ({str(transport) or type(transport).__name__}); check the network and HF_ENDPOINT"
        return _first_line(fault)
    return _answer(answered, name, f"{constants.ENDPOINT}/{name.partition('@')[0]}", writing=writing)


def _answer(fault: Exception, name: str, page: str, *, writing: bool) -> str:
    """What the hub answered."""
    from huggingface_hub import errors

    repo, _, revision = name.partition("@")
    if isinstance(fault, errors.GatedRepoError):
        return f"{repo!r} is gated; ask for access on {page}, and {LOG_IN}"
    if isinstance(fault, errors.DisabledRepoError):
        return f"{repo!r} was disabled by the hub; see {page}"
    if isinstance(fault, errors.RevisionNotFoundError):
        return f"{repo!r} has no revision {revision or 'main'!r}; its branches and tags are on {page}"
    if isinstance(fault, errors.EntryNotFoundError):
        return f"it answered 404 when asked for {_filename(fault)}; is {repo!r} what you meant?"
    status = _status(fault)
    if status == 401 and (writing or "credentials" in str(fault)):
        return f"it does not accept the token; {LOG_IN}, with a token that is valid" + _may_write(writing=writing)
    if status == 404 and writing:
        return f"it has no {repo!r} that you may write to; check the name of the user or organisation"
    if status in {401, 404}:
        return f"it has no {repo!r} that you may read; check the name, and for a private repository {LOG_IN}"
    if status == 403:
        return f"the token may not {'write to' if writing else 'read'} {repo!r}; give one that may, or another name"
    if status in {409, 412}:
        return f"{repo!r} was changed by somebody else in the meantime; do it again"
    if status == 429:
        wait = _header(fault, "Retry-After")
        return f"it has had too many requests from you; try again {f'in {wait} s' if wait else 'later'}"
    if status >= 500:
        return f"it answered {status}, a fault of its own; try again later"
    return f"it answered {status}: {_message(fault)}"


def _may_write(*, writing: bool) -> str:
    return " and may write" if writing else ""


def _causes(fault: BaseException | None) -> Iterator[BaseException]:
    while fault is not None:
        yield fault
        fault = fault.__cause__


def _status(fault: Exception) -> int:
    return int(getattr(getattr(fault, "response", None), "status_code", 0))


def _header(fault: Exception, name: str) -> str | None:
    headers = getattr(getattr(fault, "response", None), "headers", {})
    value = headers.get(name)
    return None if value is None else str(value)


def _filename(fault: Exception) -> str:
    url = str(getattr(getattr(fault, "response", None), "url", ""))
    return url.partition("/resolve/")[2].partition("/")[2] or "a file"


def _message(fault: Exception) -> str:
    return str(getattr(fault, "server_message", None) or _first_line(fault))


def _first_line(fault: BaseException) -> str:
    lines = [line.strip() for line in str(fault).splitlines() if line.strip()]
    return lines[0] if lines else type(fault).__name__
