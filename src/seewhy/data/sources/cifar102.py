"""CIFAR-10.2 from its authors' repository into a cache: resumed, verified, whole or not there.

It moves and checks bytes and does not know what is in the files.

References
----------
S. Lu, B. Nott, A. Olson, A. Todeschini, P. Vahabi, Y. Carmon, L. Schmidt: Harder or Different? A
Closer Look at Distribution Shift in Dataset Reproduction (2020).
https://github.com/modestyachts/cifar-10.2
"""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from seewhy.errors import DownloadError
from seewhy.runtime.progress import Progress

BASE_URL = "https://raw.githubusercontent.com/modestyachts/cifar-10.2/master/"
TRAIN, TEST = "cifar102_train.npz", "cifar102_test.npz"
BLOBS: Mapping[str, str] = {
    TRAIN: "817ff5f62c570547b0bc84fbab178842eb999503",
    TEST: "7a3829681be56af70ea80ec99cf3822e2f5edff3",
}
MAX_BYTES = 2**30
TIMEOUT = 30.0
CHUNK = 2**16
OWN_COPY = f"name a copy that you have: seewhy run {TRAIN} --test {TEST}"


def fetch_cifar102(
    cache: Path,
    progress: Progress,
    base_url: str = BASE_URL,
    blobs: Mapping[str, str] = BLOBS,
) -> tuple[Path, Path]:
    """Give the two files of CIFAR-10.2, downloading what is not in the cache yet.

    Parameters
    ----------
    cache : Path
        Folder to keep them in; made where it is missing.
    progress : Progress
    base_url : str, optional
        Where the files are, http or https, for mirrors.
    blobs : mapping of str to str, optional
        The git blob id of each file.

    Returns
    -------
    tuple of Path
        The training and the test file, both verified.

    Raises
    ------
    DownloadError
        Where a file cannot be downloaded or written, does not arrive whole (the same command then
        continues it), or is not what it should be (it is then deleted).
    """
    if urlsplit(base_url).scheme not in ("http", "https"):
        raise DownloadError(f"{base_url}: expected an http or https address of CIFAR-10.2")
    for name, blob in blobs.items():
        path = cache / name
        try:
            if not (path.is_file() and git_blob_id(path) == blob):
                _fetch(f"{base_url.rstrip('/')}/{name}", path, blob, progress)
        except OSError as error:
            raise DownloadError(
                f"{path}: cannot be written ({error.strerror or error}); free some space, or name "
                f"another folder in SEEWHY_CACHE"
            ) from error
    return cache / TRAIN, cache / TEST


def git_blob_id(path: Path) -> str:
    """Return the id git gives a file's content: SHA-1 over ``blob LENGTH``, a zero byte, and it."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _fetch(url: str, path: Path, blob: str, progress: Progress) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    # A whole file whose rename was cut off needs no request.
    if not (part.is_file() and git_blob_id(part) == blob):
        _download(url, part, progress)
        found = git_blob_id(part)
        if found != blob:
            part.unlink()
            raise DownloadError(
                f"{url}: its content is not the expected one (git blob id {found}, not {blob}) "
                f"and was deleted; try again, or {OWN_COPY}"
            )
    part.replace(path)


def _download(url: str, part: Path, progress: Progress) -> None:
    """Bring `part` to its whole length, from where it ends on if the server can."""
    have = part.stat().st_size if part.is_file() else 0
    try:
        response = _open(url, have)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != 416 or not have:
            raise DownloadError(
                f"{url}: the server answers {error.code} {error.reason}; try later, or {OWN_COPY}"
            ) from error
        # There is nothing behind what we have, and it is not the file: start over.
        part.unlink()
        return _download(url, part, progress)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise DownloadError(
            f"{url}: cannot be reached ({reason}); try again with a network, or {OWN_COPY}"
        ) from error
    with response:
        start = have if _continues(response, have) else 0
        length = response.headers.get("Content-Length", "")
        total = start + int(length) if length.isdigit() else None
        with part.open("ab" if start else "wb") as stream:
            _copy(response, stream, url, start, total, progress)
    return None


def _open(url: str, start: int) -> http.client.HTTPResponse:
    """Ask for `url` from byte `start` on; unlike ``urlopen`` follow no one to ftp: or file:."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    request = urllib.request.Request(url, headers={"User-Agent": "seewhy"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    response: http.client.HTTPResponse = opener.open(request, timeout=TIMEOUT)
    return response


def _continues(response: http.client.HTTPResponse, have: int) -> bool:
    """Tell whether the answer continues where we are; a server may ignore the wish."""
    place = response.headers.get("Content-Range", "")
    return have > 0 and response.status == 206 and place.startswith(f"bytes {have}-")


def _copy(
    response: http.client.HTTPResponse,
    stream: BinaryIO,
    url: str,
    start: int,
    total: int | None,
    progress: Progress,
) -> None:
    """Write what comes; what has come stays when the connection breaks."""
    have, broken = start, ""
    with progress.task(f"download {url.rpartition('/')[2]}", total or 1) as advance:
        advance(start)
        while have <= MAX_BYTES:
            try:
                chunk = response.read(CHUNK)
            except (OSError, http.client.HTTPException) as error:
                chunk, broken = b"", f" ({error})"
            if not chunk:
                break
            stream.write(chunk)
            have += len(chunk)
            advance(len(chunk))
    if have > MAX_BYTES:
        stream.truncate(0)
        raise DownloadError(f"{url}: is longer than {MAX_BYTES // 2**20} MiB; {OWN_COPY}")
    if broken or (total is not None and have < total):
        whole = f" of {total:,}" if total is not None else ""
        raise DownloadError(
            f"{url}: the connection broke{broken} after {have:,}{whole} bytes; the same command "
            f"continues there"
        )
