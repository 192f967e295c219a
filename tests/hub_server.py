"""A hub on loopback: what huggingface_hub asks of one to fetch a model, and the ways in which that fails."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit


@dataclass
class Hub:
    """Repositories by name, each a folder at one commit. Set the fields before or between requests."""

    commit: str
    repositories: dict[str, Path]
    gated: set[str] = field(default_factory=set)
    """Repositories whose files need `token`."""
    token: str | None = None
    sent: dict[str, bytes] = field(default_factory=dict)
    """File name -> what is sent instead of its content, under the same checksum."""
    address: str = ""
    requests: list[str] = field(default_factory=list)
    """Method and path of every request."""
    tokens: set[str | None] = field(default_factory=set)
    """What requests were authorised by."""

    @contextmanager
    def running(self) -> Iterator["Hub"]:
        """Serve from a thread of this process."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self.address = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, *, with_body: bool) -> None:
        path = urlsplit(self.path).path
        self.hub.requests.append(f"{self.command} {path}")
        self.hub.tokens.add(self.headers.get("Authorization"))
        status, headers, body = self._found(path)
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def _found(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body for `/api/models/A/B/tree/COMMIT` and `/A/B/resolve/COMMIT/FILE`."""
        listing = path.startswith("/api/models/")
        parts = path.removeprefix("/api/models").split("/")[1:]
        name, revision, file = "/".join(parts[:2]), parts[3], "/".join(parts[4:])
        if name not in self.hub.repositories:
            return _refused(401, "RepoNotFound")
        if revision != self.hub.commit:
            return _refused(404, "RevisionNotFound")
        folder = self.hub.repositories[name]
        if listing:
            return (
                200,
                {"Content-Type": "application/json"},
                json.dumps([_entry(p, folder) for p in _files(folder)]).encode(),
            )
        if name in self.hub.gated and self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            return _refused(403 if "Authorization" in self.headers else 401, "GatedRepo")
        if not (folder / file).is_file():
            return _refused(404, "EntryNotFound")
        content = (folder / file).read_bytes()
        headers = {"X-Repo-Commit": revision, "ETag": f'"{_checksum(folder / file)}"'}
        return 200, headers, self.hub.sent.get(file, content)


def _refused(status: int, code: str) -> tuple[int, dict[str, str], bytes]:
    return status, {"X-Error-Code": code, "X-Error-Message": code}, b""


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _checksum(path: Path) -> str:
    """As on the hub: SHA-256 of weights (large files), git's SHA-1 of others."""
    content = path.read_bytes()
    if path.suffix in (".safetensors", ".bin"):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _entry(path: Path, folder: Path) -> dict[str, object]:
    name = path.relative_to(folder).as_posix()
    entry = {"type": "file", "path": name, "size": path.stat().st_size, "oid": _checksum(path)}
    if path.suffix in (".safetensors", ".bin"):
        entry["lfs"] = {"oid": _checksum(path), "size": path.stat().st_size, "pointerSize": 134}
    return entry
