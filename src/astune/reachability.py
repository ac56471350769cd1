"""One short question to a server, where its own client would retry for half a minute before it says that nobody is there."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request

PROBE_SECONDS = 10.0  # the longest wait for the first answer


def ask(url: str) -> int | str:
    """Ask for the headers of an address, once and without a token: a redirect would take it to another server.

    Args:
        url: URL of a hub.

    Returns:
        The status the server answered, whatever it is; or why there was no answer.
    """
    request = urllib.request.Request(url, method="HEAD")  # noqa: S310 - the hub's own address
    try:
        with urllib.request.urlopen(request, timeout=PROBE_SECONDS) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as answer:
        answer.close()
        return answer.code
    except (OSError, http.client.HTTPException) as fault:
        return str(getattr(fault, "reason", None) or fault) or type(fault).__name__
