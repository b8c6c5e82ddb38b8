"""The part of Google's object store that pyarrow uses: its JSON API, in this process, with objects in memory."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

BUCKET = "results"
_LIST = re.compile(rf"/storage/v1/b/{BUCKET}/o")
_OBJECT = re.compile(rf"(?:/download)?(?:/storage/v1/b)?/{BUCKET}(?:/o)?/(.+)")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize, disable_nagle_algorithm = 2**16, True
    objects: dict[str, bytes]
    uploads: dict[str, tuple[str, bytes]]

    def log_message(self, *_: Any) -> None: ...

    def do(self) -> None:
        url = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(url.query).items()}
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if f"/{BUCKET}" not in url.path:
            self._answer(404, {"error": {"code": 404, "message": "no such bucket"}})
        elif url.path.startswith("/upload"):
            self._upload(asked, content)
        elif _LIST.fullmatch(url.path):
            names = sorted(name for name in self.objects if name.startswith(asked.get("prefix", "")))
            deeper = [asked.get("delimiter", "\0") in name[len(asked.get("prefix", "")) :] for name in names]
            here = [self._described(name) for name, deep in zip(names, deeper, strict=True) if not deep]
            self._answer(200, {"kind": "storage#objects", "items": here})
        elif (found := _OBJECT.fullmatch(url.path)) and (name := unquote(found[1])) in self.objects:
            if self.command == "DELETE":
                del self.objects[name]
                self._answer(204)
            elif url.path.startswith("/storage") and asked.get("alt") != "media":
                self._answer(200, self._described(name))
            else:
                self._send(self.objects[name])
        else:
            self._answer(404, {"error": {"code": 404, "message": "no such object"}})

    do_GET = do_POST = do_PUT = do_DELETE = do

    def _upload(self, asked: dict[str, str], content: bytes) -> None:
        if self.command == "POST":
            number = str(len(self.uploads))
            self.uploads[number] = asked.get("name") or json.loads(content)["name"], b""
            where = f"http://{self.headers['Host']}/upload/storage/v1/b/{BUCKET}/o?upload_id={number}"
            self._answer(200, {}, Location=where)
            return
        name, before = self.uploads[asked["upload_id"]]
        self.uploads[asked["upload_id"]] = name, before + content
        if self.headers.get("Content-Range", "").endswith("/*"):
            self._answer(308, Range=f"bytes=0-{len(before + content) - 1}")
            return
        self.objects[name] = before + content  # only now it is visible
        self._answer(200, self._described(name))

    def _send(self, content: bytes) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked is None:
            self._answer(200, content)
            return
        first, end = int(asked[1]), min(int(asked[2] or len(content)) + 1, len(content))
        self._answer(206, content[first:end], **{"Content-Range": f"bytes {first}-{end - 1}/{len(content)}"})

    def _described(self, name: str) -> dict[str, str]:
        content = self.objects[name]
        digest = base64.b64encode(hashlib.md5(content).digest()).decode()
        when = {"updated": "2026-01-01T00:00:00Z", "timeCreated": "2026-01-01T00:00:00Z"}
        description = {
            "kind": "storage#object",
            "name": name,
            "bucket": BUCKET,
            "size": str(len(content)),
            "generation": "1",
        }
        return {**description, **when, "metageneration": "1", "md5Hash": digest}

    def _answer(self, status: int, content: bytes | dict[str, Any] = b"", **headers: str) -> None:
        body = json.dumps(content).encode() if isinstance(content, dict) else content
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def google_served() -> Iterator[tuple[str, dict[str, bytes]]]:
    """The URL options that lead to it, and its objects by name in BUCKET."""
    objects: dict[str, bytes] = {}
    handler = type("Handler", (_Handler,), {"objects": objects, "uploads": {}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"anonymous=true&scheme=http&endpoint_override=127.0.0.1:{server.server_port}", objects
    finally:
        server.shutdown()
        server.server_close()
