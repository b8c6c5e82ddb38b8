"""Object stores by their URLs (s3://bucket/folder, gs://bucket/folder), and patience with them: what may pass is waited
for, what will not is refused in one line.

Credentials are found as the ecosystem finds them, never in a URL, which stands in manifests and on screens.
"""

import os
import random
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from threading import Lock
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

from pyarrow.fs import (
    AwsStandardS3RetryStrategy,
    FileSelector,
    FileSystem,
    GcsFileSystem,
    S3FileSystem,
    resolve_s3_region,
)

from actors.refusal import Refusal, nearest
from actors.table import Table

Answer = TypeVar("Answer")

PATIENCE = 300.0
"""Seconds for which a store that was reached before may be away."""

FIRST_PATIENCE = 20.0
"""Seconds for a store that never answered: more likely than not its URL is wrong."""

SHORTEST, LONGEST = 0.5, 30.0
"""Seconds between two attempts: as many as the store has been away already, within these bounds, give or take half."""

CONNECT_SECONDS, SILENCE_SECONDS = 5.0, 10.0
"""An attempt fails when no connection is made, or nothing is heard, for so long."""

_S3_ERROR = re.compile(r"AWS Error (\w+)(?: \(HTTP status (\d+)\))? during \w+ operation: (.*)", re.DOTALL)
_GS_ERROR = re.compile(r"Status\((\w+): (.*)", re.DOTALL)

_PASSING = {
    *("NETWORK_CONNECTION", "INTERNAL_FAILURE", "SERVICE_UNAVAILABLE", "SLOW_DOWN", "THROTTLING", "REQUEST_TIMEOUT"),
    *("UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL", "RESOURCE_EXHAUSTED", "ABORTED"),
}
"""What S3 and Google's store call errors that may be over at the next attempt."""

_DENIED = {
    *("ACCESS_DENIED", "INVALID_ACCESS_KEY_ID", "SIGNATURE_DOES_NOT_MATCH", "INVALID_SIGNATURE", "UNRECOGNIZED_CLIENT"),
    *("INVALID_CLIENT_TOKEN_ID", "MISSING_AUTHENTICATION_TOKEN", "REQUEST_EXPIRED"),
    *("PERMISSION_DENIED", "UNAUTHENTICATED"),
}


class Unreachable(Exception):
    """A store did not answer, and may answer the next attempt, `pause` seconds from now."""

    def __init__(self, pause: float) -> None:
        super().__init__(f"try again in {pause:.1f} s")
        self.pause = pause


@dataclass(frozen=True)
class _Kind:
    """`connect` makes pyarrow's file system for a bucket and the options that a URL may have, named in `options`."""

    connect: Callable[[str, dict[str, str]], FileSystem]
    options: tuple[str, ...]
    credentials: str


class ObjectStore:
    """A bucket, `root` its URL. Everything is done through `once` or `patiently`, which know for how long the store has
    been away, whoever noticed; safe for several threads.
    """

    def __init__(self, root: str, filesystem: FileSystem, credentials: str) -> None:
        self.root, self.filesystem, self._credentials = root, filesystem, credentials
        self._lock = Lock()
        self._reached = False
        self._lost_since: float | None = None
        self._last_failure = 0.0

    def patiently(self, operation: Callable[[], Answer]) -> Answer:
        """What `operation` gives, tried until the store answers. Raises Refusal when it has been away for too long, and
        at once for what will not pass; FileNotFoundError is left.
        """
        while True:
            try:
                return self.once(operation)
            except Unreachable as lost:
                time.sleep(lost.pause)

    def once(self, operation: Callable[[], Answer]) -> Answer:
        """As `patiently`, but raises Unreachable where it would wait."""
        began = time.monotonic()
        try:
            answer = operation()
        except FileNotFoundError:
            self._found()
            raise
        except OSError as error:
            code, reason = told(error)
            if code in _PASSING:
                raise self._lost(reason, began) from error
            raise self._denied(code, reason) from None
        self._found()
        return answer

    def files(self, path: str) -> list[tuple[str, int, Any]]:
        """Name, bytes and time of change of the object `path`, or of all below it; in the order of their names."""
        info = self.patiently(lambda: self.filesystem.get_file_info(path))
        selector = FileSelector(path, recursive=True, allow_not_found=True)
        below = [info] if info.is_file else self.patiently(lambda: self.filesystem.get_file_info(selector))
        return sorted((one.path, one.size, one.mtime_ns) for one in below if one.is_file)

    def _found(self) -> None:
        with self._lock:
            self._reached = True
            if self._lost_since is not None:
                tell(f"{self.root} answers again after {time.monotonic() - self._lost_since:.0f} s")
                self._lost_since = None

    def _lost(self, reason: str, began: float) -> Exception:
        """What comes of an attempt, made at `began`, that the store did not answer."""
        limit = PATIENCE if self._reached else FIRST_PATIENCE
        with self._lock:
            now = time.monotonic()
            # Who gave up long ago, in a notebook say, begins anew.
            if self._lost_since is None or began - self._last_failure > PATIENCE:
                self._lost_since = now
                tell(f"cannot reach {self.root} ({reason}): trying again for {_span(limit)}")
            self._last_failure, away = now, now - self._lost_since
        if away < limit:
            return Unreachable(min(random.uniform(0.5, 1.5) * min(max(away, SHORTEST), LONGEST), limit - away + 0.1))
        if self._reached:
            return Refusal(
                f"stopped: {self.root} could not be reached for {_span(away)} ({reason}); what was finished is there: "
                "the same command goes on from it"
            )
        return Refusal(f"{self.root} cannot be reached ({reason}): write another URL, or see to the network")

    def _denied(self, code: str, reason: str) -> Refusal:
        if code in _DENIED:
            return Refusal(f"{self.root}: no access ({reason}): {self._credentials}")
        if code in ("NO_SUCH_BUCKET", "NOT_FOUND"):
            return no_bucket(self.root)
        return Refusal(f"{self.root}: {reason}")


def is_url(path: str | os.PathLike[str]) -> bool:
    """Whether this is the URL of something, not a path."""
    return "://" in str(path)


def no_bucket(url: str) -> Refusal:
    parts = urlsplit(url)
    return Refusal(f"{parts.scheme}://{parts.netloc}: there is no such bucket: make it, or write another")


def bucket_of(url: str) -> tuple[ObjectStore, str]:
    """The store of a URL, and what it is in that: "bucket/folder/name". Raises Refusal as `checked_url`."""
    scheme, bucket, path, options = checked_url(url)
    return open_store(scheme, bucket, options), f"{bucket}/{path}".rstrip("/")


def refuse_url(path: str, flag: str) -> None:
    """Raises Refusal where what goes to a local folder or file only is to go to a URL."""
    if is_url(path):
        raise Refusal(f"{flag} {path}: this goes to a local folder: write one, and copy it from there")


def checked_url(url: str) -> tuple[str, str, str, str]:
    """Scheme, bucket, path below it and options (as they stand after the question mark) of an object store's URL.

    Raises Refusal for a scheme or an option that is unknown, a URL without a bucket, and one with credentials.
    """
    parts = urlsplit(url)
    if parts.scheme not in STORES:
        raise Refusal(f"{url}: write a folder, or a URL such as s3://bucket/folder or gs://bucket/folder")
    if "@" in parts.netloc or ":" in parts.netloc:
        raise Refusal(
            f"{parts.scheme}://...: credentials in a URL would stand in manifests and on screens: leave them out; "
            f"{STORES[parts.scheme].credentials}"
        )
    if not parts.netloc:
        raise Refusal(f"{url} names no bucket: write {parts.scheme}://bucket/folder")
    for name, _ in parse_qsl(parts.query):
        if name not in (known := STORES[parts.scheme].options):
            raise Refusal(f"{url}: unknown option '{name}': {nearest(name, known)}")
    return parts.scheme, parts.netloc, parts.path.strip("/"), parts.query


@lru_cache
def open_store(scheme: str, bucket: str, options: str = "") -> ObjectStore:
    """The store, the same for all who ask: what one learns of its being away, the others know."""
    kind = STORES[scheme]
    return ObjectStore(f"{scheme}://{bucket}", kind.connect(bucket, dict(parse_qsl(options))), kind.credentials)


def tell(text: str) -> None:
    """Something a person watching should know: a line on standard error, which progress bars let through."""
    print(f"raysmooth: {text}", file=sys.stderr, flush=True)


def told(error: OSError) -> tuple[str, str]:
    """What the store calls an error ("" where it has no name), and its words, in one line."""
    text = " ".join(str(error).split())
    if found := _S3_ERROR.search(text):
        code, status, words = found.groups()
        passes = status is not None and (status.startswith("5") or status == "429")
        code = "SERVICE_UNAVAILABLE" if passes else "ACCESS_DENIED" if status == "403" else code
        words = words.partition(" (Request ID")[0].rpartition("Details: ")[2]
        return code, f"{code}: {words[:200]}" if words else code
    if found := _GS_ERROR.search(text):
        return found[1], f"{found[1]}: {found[2][:200]}"
    return "", text[:300]


def _span(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} s"


def _s3(bucket: str, options: dict[str, str]) -> FileSystem:
    """The endpoint and the bucket's region are told: left to itself pyarrow looks for neither where all others do."""
    environment = os.environ
    endpoint = (
        options.get("endpoint_override")
        or environment.get("AWS_ENDPOINT_URL_S3")
        or environment.get("AWS_ENDPOINT_URL")
    )
    region = options.get("region") or environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION")
    if region is None and endpoint is None:
        try:
            region = resolve_s3_region(bucket)
        except OSError:
            region = None  # the first thing that is done with the bucket will say what is wrong
    return S3FileSystem(
        region=region or ("us-east-1" if endpoint else None),
        endpoint_override=endpoint,
        scheme=options.get("scheme"),
        anonymous=options.get("anonymous") == "true",
        connect_timeout=CONNECT_SECONDS,
        request_timeout=SILENCE_SECONDS,
        # One more attempt in silence. After that whoever waits is told, by ObjectStore.
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=2),
        # A small object is one request, and nothing of it is there before.
        allow_delayed_open=True,
    )


def _gs(bucket: str, options: dict[str, str]) -> FileSystem:
    return GcsFileSystem(
        endpoint_override=options.get("endpoint_override"),
        scheme=options.get("scheme"),
        anonymous=options.get("anonymous") == "true",
        project_id=options.get("project_id"),
        retry_time_limit=timedelta(seconds=SILENCE_SECONDS),
    )


_GOOGLE = _Kind(
    _gs,
    ("anonymous", "endpoint_override", "project_id", "scheme"),
    "credentials are those of GOOGLE_APPLICATION_CREDENTIALS, of gcloud auth application-default login, or the "
    "machine's own",
)

STORES: Table[_Kind] = Table(
    "object store",
    {
        "s3": _Kind(
            _s3,
            ("anonymous", "endpoint_override", "region", "scheme"),
            "credentials are those of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, of ~/.aws (AWS_PROFILE), or the "
            "machine's role",
        ),
        "gs": _GOOGLE,
        "gcs": _GOOGLE,
    },
)
"""By the schemes of their URLs."""
