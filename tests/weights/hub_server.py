"""A loopback server that speaks enough of the Hub's protocol, and can be told to misbehave."""

import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
# What the Hub keeps as large files: it publishes their SHA-256.
LARGE = (".safetensors", ".pth", ".bin")


@dataclass
class Repository:
    """Files by name, a licence for the card, and whom it lets in."""

    files: dict[str, bytes]
    licence: str | None = "apache-2.0"
    token: str | None = None

    @classmethod
    def of_folder(cls, folder: Path, **options: str | None) -> "Repository":
        files = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        return cls(files, **options)


@dataclass
class Hub:
    """What the server knows, what it shall do wrong, and what it was asked."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    commit: str = COMMIT
    status: dict[str, tuple[int, int]] = field(default_factory=dict)
    """File -> (HTTP status, how many times) that its content is refused."""
    cut: dict[str, int] = field(default_factory=dict)
    """File -> how many of its answers end half-way."""
    altered: set[str] = field(default_factory=set)
    """Files of which other bytes are served than published."""
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    """Method, path and Range of everything that was asked."""
    tokens: list[str | None] = field(default_factory=list)
    url: str = ""
    cdn: str = ""
    """Another name of the same machine: redirects to another host are treated differently."""

    def served(self, name: str) -> list[str | None]:
        """The Range headers with which a file's content was asked for."""
        return [asked for how, path, asked in self.requests if how == "GET" and path.endswith(name)]


def start(hub: Hub) -> ThreadingHTTPServer:
    """Serve `hub` on a free port; `hub.url` says where."""

    class Handler(_Handler):
        pass

    Handler.hub = hub
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    hub.cdn = f"http://localhost:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append((self.command, path, self.headers.get("Range")))
        self.hub.tokens.append(self.headers.get("Authorization"))
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/revision/(.+)", path):
            self._info(match[1])
        elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self._resolve(match[1], match[3])
        elif match := re.fullmatch(r"/cdn/([^/]+/[^/]+)/(.+)", path):
            self._content(match[2], self.hub.repositories[match[1]].files[match[2]])
        else:
            self._send(404, {}, b"")

    def _repository(self, name: str) -> Repository | None:
        repository = self.hub.repositories.get(name)
        if repository is None:
            # The real Hub does not say whether it hides or lacks a repository.
            self._send(401, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "no"}, b"")
            return None
        if repository.token and self.headers.get("Authorization") != f"Bearer {repository.token}":
            self._send(403, {"X-Error-Code": "GatedRepo", "X-Error-Message": "ask"}, b"")
            return None
        return repository

    def _info(self, name: str) -> None:
        if (repository := self._repository(name)) is None:
            return
        siblings = []
        for file, content in repository.files.items():
            entry: dict[str, object] = {"rfilename": file, "size": len(content), "blobId": "b"}
            if file.endswith(LARGE):
                digest = hashlib.sha256(content).hexdigest()
                entry["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 130}
            siblings.append(entry)
        card = {"license": repository.licence} if repository.licence else {}
        info = {"id": name, "sha": self.hub.commit, "siblings": siblings, "cardData": card}
        body = json.dumps({**info, "tags": [], "private": False, "downloads": 0}).encode()
        self._send(200, {"Content-Type": "application/json"}, body)

    def _resolve(self, name: str, file: str) -> None:
        if (repository := self._repository(name)) is None:
            return
        if file not in repository.files:
            self._send(404, {"X-Error-Code": "EntryNotFound", "X-Error-Message": "no"}, b"")
            return
        content = repository.files[file]
        etag = hashlib.sha256(content).hexdigest()
        headers = {
            "ETag": f'"{etag}"',
            "X-Repo-Commit": self.hub.commit,
            "Accept-Ranges": "bytes",
        }
        if file.endswith(LARGE):
            headers |= {
                "X-Linked-ETag": f'"{etag}"',
                "X-Linked-Size": str(len(content)),
                "Location": f"{self.hub.cdn}/cdn/{name}/{file}",
            }
            self._send(302, headers, b"")
        else:
            self._content(file, content, headers)

    def _content(self, name: str, content: bytes, headers: dict[str, str] | None = None) -> None:
        headers = headers or {}
        if self.command == "GET" and name in self.hub.status:
            status, times = self.hub.status[name]
            if times > 0:
                self.hub.status[name] = (status, times - 1)
                self._send(status, {}, b"")
                return
        if name in self.hub.altered:
            content = bytes(byte ^ 1 for byte in content)
        status, start = 200, 0
        if match := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or ""):
            start, status = int(match[1]), 206
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        body = content[start:]
        if self.command == "GET" and self.hub.cut.get(name, 0) > 0:
            self.hub.cut[name] -= 1
            self._send(status, headers, body, cut=max(1, len(body) // 2))
            return
        self._send(status, headers, body)

    def _send(
        self, status: int, headers: dict[str, str], body: bytes, cut: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(body[:cut] if cut is not None else body)
        if cut is not None:
            self.wfile.flush()
            self.close_connection = True
