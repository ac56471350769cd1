"""A Ray cluster, for the time of a block."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from astune.errors import ConfigError
from astune.extras import install_command, missing_packages

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def ray_cluster(address: str) -> Iterator[None]:
    """Connect to a Ray cluster.

    Args:
        address: address of the cluster; ``auto`` for the one this machine belongs to, ``local`` for one made for the purpose.

    Raises:
        ConfigError: Ray is not installed, or no cluster answers at the address.
    """
    if missing_packages("ray"):
        raise ConfigError(f"ray={address} needs a package that is not installed; {install_command('ray')}")
    import ray

    try:
        ray.init(address=address, log_to_driver=False, include_dashboard=False if address == "local" else None)
    except (ConnectionError, ValueError) as fault:
        raise ConfigError(f"no Ray cluster at {address!r}: {fault}; start one with `ray start --head`") from fault
    try:
        yield
    finally:
        ray.shutdown()
