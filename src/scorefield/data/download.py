"""Files from the network: a list of mirrors, a checksum, a cache, and nothing half-written."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scorefield.errors import InputError

if TYPE_CHECKING:
    from requests import Response

CHUNK = 1 << 16
TIMEOUT = 30  # seconds without a byte


def cache_folder() -> Path:
    """Where downloads are kept: the user's cache folder, shared by all runs."""
    import pooch

    return Path(pooch.os_cache("scorefield"))


def fetch(name: str, sha256: str, mirrors: Sequence[str], folder: Path, *, progress: bool) -> Path:
    """The path of a file in the cache, downloaded from the first mirror that gives the right bytes.

    What an interrupted download has fetched stays beside it as ``NAME.part``; the next call asks only
    for the rest.

    Arguments:
        name: the file's name, appended to a mirror's address.
        sha256: what the file must hash to.
        mirrors: addresses that end in a slash, tried in order.
        folder: where the file is kept; it appears there only when it is complete and right.
        progress: show a progress bar.

    Raises:
        InputError: when no mirror gives the file, with the reason of each.
    """
    reasons = []
    for mirror in mirrors:
        begun = (folder / f"{name}.part").exists()
        for _ in range(2 if begun else 1):  # what was begun may be wrong; then once more, from 0
            reason = _attempt(mirror + name, sha256, folder / name, progress=progress)
            if not reason:
                return folder / name
        reasons.append(f"{mirror}: {reason}")
    raise InputError(f"cannot download {name} ({'; '.join(reasons)})")


def _attempt(address: str, sha256: str, path: Path, *, progress: bool) -> str:
    """Have one address give a file; what went wrong in a few words, or nothing."""
    import pooch
    from requests.exceptions import RequestException

    pooch.get_logger().setLevel("WARNING")  # what it would say is said by the error or the bar
    try:
        pooch.retrieve(
            address,
            known_hash=f"sha256:{sha256}",
            fname=path.name,
            path=path.parent,
            downloader=Resuming(path.with_name(f"{path.name}.part"), progress),
        )
    except (RequestException, ValueError, OSError) as error:
        return (str(error) or type(error).__name__).splitlines()[0][:120]
    return ""


@dataclass(frozen=True)
class Resuming:
    """A downloader for pooch that goes on where an earlier one was interrupted.

    Arguments:
        part: where the bytes are gathered.
        progress: show a progress bar.
    """

    part: Path
    progress: bool

    def __call__(self, url: str, output_file: str, pooch: object, check_only: bool = False) -> None:
        """Fetch what is missing of ``url``, then copy the whole to ``output_file``.

        Arguments:
            url: the address.
            output_file: a temporary file of pooch's, which checks it and gives it its name.
            pooch: not used.
            check_only: not used.
        """
        import requests

        have = self.part.stat().st_size if self.part.exists() else 0
        headers = {"Accept-Encoding": "identity"}  # lengths count the bytes as they are stored
        headers |= {"Range": f"bytes={have}-"} if have else {}
        with requests.get(url, stream=True, timeout=TIMEOUT, headers=headers) as response:
            if response.status_code == requests.codes.requested_range_not_satisfiable:
                self._finish(output_file)  # nothing is missing, or the hash will tell
                return
            response.raise_for_status()
            if response.status_code != requests.codes.partial_content:
                have = 0  # this server sends everything anew
            self._gather(response, have)
        self._finish(output_file)

    def _gather(self, response: Response, have: int) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn()
        console = Console(stderr=True)
        rest = int(response.headers.get("Content-Length", 0))
        with (
            self.part.open("ab" if have else "wb") as file,
            Progress(
                *columns,
                TimeRemainingColumn(),
                console=console,
                transient=True,
                disable=not self.progress,
            ) as progress,
        ):
            task = progress.add_task(self.part.stem, total=have + rest or None, completed=have)
            for chunk in response.iter_content(CHUNK):
                file.write(chunk)
                progress.advance(task, len(chunk))

    def _finish(self, output_file: str) -> None:
        # A copy, not a move: another process that still writes to the part must not reach the result.
        shutil.copyfile(self.part, output_file)
        self.part.unlink()
