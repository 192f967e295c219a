"""Verified downloads: a file gets its final name only after its bytes have matched the registry's checksum.

A transfer goes to a hidden `.part` file that outlives both a failed attempt and a killed run, so that the next one
continues where it stopped.
"""

import fcntl
import hashlib
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit
from urllib.request import url2pathname

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from specbeam.data.registry import HOSTS, Source, SourceFile, source_of
from specbeam.errors import SpecbeamError
from specbeam.files import replacing, writing
from specbeam.progress import Bar

log = logging.getLogger(__name__)

MIRROR_VARIABLE = "SPECBEAM_MIRROR"
"""Environment variable that the command line reads the mirror from; named in messages."""
ATTEMPTS = 6
TIMEOUT = httpx.Timeout(30.0, connect=15.0)
LONGEST_WAIT = 60.0  # seconds, also where a server asks for more
_back_off = wait_random_exponential(multiplier=1, max=LONGEST_WAIT)
sleep = time.sleep


class _RetryableError(Exception):
    """A failure that another attempt may mend; `after` is the wait in seconds that the server asked for."""

    def __init__(self, reason: str, *, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after


def download(*, dataset: str, destination: Path, store: Path | None = None, mirror: str | None = None) -> None:
    """Bring the four raw files of `dataset` to the folder `destination`, verified.

    `mirror` is a folder, a file: URL or an http(s) URL that holds `<dataset>/<file>`, taken instead of the pinned
    addresses. With a `store`, they are brought to its folder `<dataset>`, and copied from there. Files that are there
    and match are kept. Where another process downloads to the same folder, this one waits for it.
    Raises SpecbeamError for an unknown data set, a missing mirror or file, a wrong checksum, and when the transfer
    still fails after several attempts.
    """
    source = source_of(dataset)
    folder = _mirror_folder(mirror, source) if mirror else None
    home = Path(store) / dataset if store else Path(destination)
    log.info("%s, %s at %s; licence: %s", source.title, source.homepage, source.version, source.licence)
    with writing(home), _alone(home):
        _complete(source, home, mirror=mirror, folder=folder)
    if store:
        for file in source.files:
            with replacing(Path(destination) / file.name) as copy:
                shutil.copyfile(home / file.name, copy)


@contextmanager
def _alone(destination: Path) -> Iterator[None]:
    """Wait for another process that downloads to `destination`; the kernel ends its lock with it, whatever ends it."""
    destination.mkdir(parents=True, exist_ok=True)
    with destination.with_name(f".{destination.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("%s: another process is downloading there; waiting for it", destination)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _complete(source: Source, destination: Path, *, mirror: str | None, folder: Path | None) -> None:
    """Bring the files of `source` that `destination` lacks."""
    missing = [file for file in source.files if not _verified(destination / file.name, file)]
    log.info("%s: %d of %d files to get", source.name, len(missing), len(source.files))
    with Bar(total=sum(file.size for file in missing), desc=source.name, unit="B", unit_scale=True) as bar:
        for file in missing:
            part = destination / f".{file.name}.{file.sha256[:12]}.part"
            if folder:
                origin = _copy(folder / file.path, part, bar=bar)
            else:
                origin = f"{mirror.rstrip('/')}/{file.path}" if mirror else file.url
                _fetch(origin, part, size=file.size, bar=bar, hosts=None if mirror else HOSTS)
            _accept(part, destination / file.name, file, origin=origin)


def _mirror_folder(mirror: str, source: Source) -> Path | None:
    """The folder that `mirror` means, or None if it is an http(s) URL."""
    scheme = mirror.partition("://")[0].lower() if "://" in mirror else ""
    if scheme in ("http", "https"):
        return None
    if scheme not in ("", "file"):
        raise SpecbeamError(f"mirror: expected a folder or a URL with file, http or https, got {mirror!r}")
    try:
        folder = Path(url2pathname(urlsplit(mirror).path) if scheme else mirror).expanduser()
    except (ValueError, RuntimeError) as error:  # brackets of no address; a home that there is not
        raise SpecbeamError(f"mirror: expected a folder or an address, got {mirror!r} ({error})") from error
    if not folder.is_dir():
        raise SpecbeamError(
            f"mirror: expected a folder that holds {source.files[0].path}, there is no folder {folder}. Set "
            f"source.mirror in the config or the environment variable {MIRROR_VARIABLE} to one, or unset both to "
            f"download from {source.homepage}"
        )
    return folder


def _copy(origin: Path, part: Path, *, bar: Bar) -> str:
    try:
        shutil.copyfile(origin, part)
    except OSError as error:
        raise SpecbeamError(
            f"mirror: expected the file {origin}, cannot copy it ({error.strerror}). Complete the mirror, or set "
            f"source.mirror in the config or {MIRROR_VARIABLE} to another one"
        ) from error
    bar.update(part.stat().st_size)
    return str(origin)


def _fetch(url: str, part: Path, *, size: int, bar: Bar, hosts: frozenset[str] | None) -> None:
    """Fetch `url` to `part` in several attempts; each continues what is already there.

    Only from `hosts`, wherever the server sends us; None, for the user's own mirror, is any.
    """
    before = bar.n
    retrying = Retrying(
        sleep=lambda seconds: sleep(seconds),
        stop=stop_after_attempt(ATTEMPTS),
        retry=retry_if_exception_type(_RetryableError),
        wait=_wait,
        before_sleep=lambda state: log.warning("%s: %s; trying again", url, state.outcome.exception()),
        reraise=True,
    )

    def show(received: int) -> None:
        bar.update(before + received - bar.n)

    def stay(request: httpx.Request) -> None:
        if hosts is not None and (request.url.scheme != "https" or request.url.host not in hosts):
            raise SpecbeamError(
                f"{url}: expected to stay at {', '.join(sorted(hosts))}, was sent to {request.url}; set source.mirror "
                f"or {MIRROR_VARIABLE} to a mirror"
            )

    try:
        with httpx.Client(timeout=TIMEOUT, follow_redirects=True, event_hooks={"request": [stay]}) as client:
            retrying(_attempt, client, url, part, size=size, show=show)
    except _RetryableError as error:
        raise SpecbeamError(
            f"{url}: expected {size} bytes, gave up after {ATTEMPTS} attempts: {error}. Run it again to continue from "
            f"the {_length(part)} bytes received, or set source.mirror or {MIRROR_VARIABLE} to a mirror"
        ) from error


def _wait(state: RetryCallState) -> float:
    asked = getattr(state.outcome.exception(), "after", None)
    return _back_off(state) if asked is None else min(asked, LONGEST_WAIT)


def _attempt(client: httpx.Client, url: str, part: Path, *, size: int, show: Callable[[int], None]) -> None:
    """One request for what `part` still lacks. Raises _RetryableError where another may help, else SpecbeamError."""
    have = _length(part)
    if have == size:
        return
    if have > size:
        part.unlink()
        have = 0
    # Without identity the server may compress, and byte ranges would count compressed bytes.
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    try:
        with client.stream("GET", url, headers=headers) as response:
            _check_status(response, url, part)
            resumed = response.status_code == httpx.codes.PARTIAL_CONTENT
            if resumed and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
                part.unlink()
                raise _RetryableError(f"asked for bytes from {have}, got {response.headers.get('Content-Range')!r}")
            with part.open("ab" if resumed else "wb") as stream:
                _receive(response, stream, size=size, show=show)
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.TooManyRedirects) as error:
        raise SpecbeamError(f"{url}: cannot be fetched ({error}); mend source.mirror or {MIRROR_VARIABLE}") from error
    except httpx.TransportError as error:
        raise _RetryableError(f"{type(error).__name__}: {error}") from error
    # A body without a declared end cannot be told from a cut one. With one, it is complete: let the checksum judge.
    declared = "Content-Length" in response.headers or "Transfer-Encoding" in response.headers
    if _length(part) < size and not declared:
        raise _RetryableError(f"the connection ended after {_length(part)} bytes")


def _receive(response: httpx.Response, stream: BinaryIO, *, size: int, show: Callable[[int], None]) -> None:
    for chunk in response.iter_raw():  # as they come: with a chunk size, a cut would lose what is buffered
        stream.write(chunk)
        show(stream.tell())
        if stream.tell() > size:  # another file: what follows does not matter, the checksum will tell
            return


def _check_status(response: httpx.Response, url: str, part: Path) -> None:
    status = response.status_code
    if status == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
        part.unlink(missing_ok=True)
        raise _RetryableError(f"the server has fewer bytes than expected (HTTP {status})")
    if status == httpx.codes.TOO_MANY_REQUESTS or status >= 500:
        raise _RetryableError(f"HTTP {status}", after=_retry_after(response))
    if status not in (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT):
        raise SpecbeamError(
            f"{url}: expected the file, got HTTP {status} {response.reason_phrase}. If this address is a mirror, mend "
            f"source.mirror or {MIRROR_VARIABLE}; otherwise set one of them to a mirror that has the file"
        )


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds to wait that the server names; None if it names none (or a date, which servers of files rarely do)."""
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isdigit() else None


def _accept(part: Path, final: Path, file: SourceFile, *, origin: str) -> None:
    """Give `part` its final name if its bytes are the expected ones; remove it otherwise."""
    received, size = _sha256(part), _length(part)
    if received != file.sha256:
        part.unlink()
        raise SpecbeamError(
            f"{file.name}: expected sha256 {file.sha256} ({file.size} bytes), received {received} ({size} bytes) from "
            f"{origin}. The copy was removed; run it again, and if it stays so, the file there is not the pinned one: "
            f"set source.mirror or {MIRROR_VARIABLE} to a good mirror"
        )
    part.replace(final)


def _verified(path: Path, file: SourceFile) -> bool:
    return _length(path) == file.size and _sha256(path) == file.sha256


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _length(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
