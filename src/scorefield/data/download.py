"""Files from the network: a list of mirrors, a checksum, a cache, and nothing half-written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scorefield.errors import InputError


def cache_folder() -> Path:
    """Where downloads are kept: the user's cache folder, shared by all runs."""
    import pooch

    return Path(pooch.os_cache("scorefield"))


def fetch(name: str, sha256: str, mirrors: Sequence[str], folder: Path, *, progress: bool) -> Path:
    """The path of a file in the cache, downloaded from the first mirror that gives the right bytes.

    Arguments:
        name: the file's name, appended to a mirror's address.
        sha256: what the file must hash to.
        mirrors: addresses that end in a slash, tried in order.
        folder: where the file is kept; it appears there only when it is complete and right.
        progress: show a progress bar.

    Raises:
        InputError: when no mirror gives the file, with the reason of each.
    """
    import pooch
    from requests.exceptions import RequestException

    pooch.get_logger().setLevel("WARNING")  # what it would say is said by the error or the bar
    reasons = []
    for mirror in mirrors:
        try:
            return Path(
                pooch.retrieve(
                    mirror + name,
                    known_hash=f"sha256:{sha256}",
                    fname=name,
                    path=folder,
                    downloader=pooch.HTTPDownloader(progressbar=progress, timeout=30),
                )
            )
        except (RequestException, ValueError, OSError) as error:
            reasons.append(f"{mirror}: {str(error).splitlines()[0][:120]}")
    raise InputError(f"cannot download {name} ({'; '.join(reasons)})")
