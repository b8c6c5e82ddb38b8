"""URLs of object stores (s3://bucket/folder, gs://bucket/folder), and pyarrow's connection to them.

Credentials come from the usual places of each cloud, never from the URL, which appears in manifests and on screens.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from raysmooth.common.errors import RaysmoothError, nearest
from raysmooth.common.registry import Registry
from raysmooth.storage.object_store import ObjectStore

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

CONNECT_SECONDS, SILENCE_SECONDS = 5.0, 10.0
"""An attempt fails after this time without a connection, or without data."""


@dataclass(frozen=True)
class _Kind:
    """`connect` makes pyarrow's file system from a bucket and the URL's options; `options` are their possible names."""

    connect: Callable[[str, dict[str, str]], "FileSystem"]
    options: tuple[str, ...]
    credentials: str


def is_url(path: str | os.PathLike[str]) -> bool:
    """Whether `path` is a URL."""
    return "://" in str(path)


def bucket_of(url: str) -> tuple[ObjectStore, str]:
    """The store of a URL, and the path in it, "bucket/folder/name". Raises RaysmoothError as `checked_url` does."""
    scheme, bucket, path, options = checked_url(url)
    return open_store(scheme, bucket, options), f"{bucket}/{path}".rstrip("/")


def refuse_url(path: str, flag: str) -> None:
    """Raises RaysmoothError for a URL where only a local path is supported."""
    if is_url(path):
        raise RaysmoothError(f"{flag} {path}: only local paths are supported: write one, and copy the result")


def checked_url(url: str) -> tuple[str, str, str, str]:
    """Scheme, bucket, path in it, and options (the text after the question mark) of an object store's URL.

    Raises RaysmoothError for an unknown scheme or option, a URL without a bucket, and one with credentials.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:  # http://[
        raise RaysmoothError(f"{url} is no URL ({error}): write s3://bucket/folder or gs://bucket/folder") from None
    if parts.scheme not in STORES:
        raise RaysmoothError(f"{url}: write a folder, or a URL such as s3://bucket/folder or gs://bucket/folder")
    if "@" in parts.netloc or ":" in parts.netloc:
        raise RaysmoothError(
            f"{parts.scheme}://...: credentials in a URL would appear in manifests and on screens: leave them out; "
            f"{STORES[parts.scheme].credentials}"
        )
    if not parts.netloc:
        raise RaysmoothError(f"{url} names no bucket: write {parts.scheme}://bucket/folder")
    for name, _ in parse_qsl(parts.query):
        if name not in (known := STORES[parts.scheme].options):
            raise RaysmoothError(f"{url}: unknown option '{name}': {nearest(name, known)}")
    return parts.scheme, parts.netloc, parts.path.strip("/"), parts.query


@lru_cache
def open_store(scheme: str, bucket: str, options: str = "") -> ObjectStore:
    """The store. All callers share one object, and with it the knowledge of whether the store can be reached."""
    kind = STORES[scheme]
    return ObjectStore(f"{scheme}://{bucket}", kind.connect(bucket, dict(parse_qsl(options))), kind.credentials)


def _s3(bucket: str, options: dict[str, str]) -> "FileSystem":
    """Endpoint and region are passed explicitly: pyarrow does not look for them where other tools do."""
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem, resolve_s3_region

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
            region = None  # the first operation on the bucket will report the problem
    return S3FileSystem(
        region=region or ("us-east-1" if endpoint else None),
        endpoint_override=endpoint,
        scheme=options.get("scheme"),
        anonymous=options.get("anonymous") == "true",
        connect_timeout=CONNECT_SECONDS,
        request_timeout=SILENCE_SECONDS,
        # One silent retry. After that ObjectStore notifies the user.
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=2),
        # A small object is a single, atomic request.
        allow_delayed_open=True,
    )


def _gs(bucket: str, options: dict[str, str]) -> "FileSystem":
    from pyarrow.fs import GcsFileSystem

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
    "credentials are those of GOOGLE_APPLICATION_CREDENTIALS, of gcloud auth application-default login, or of the "
    "machine",
)

STORES: Registry[_Kind] = Registry(
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
"""By URL scheme."""
