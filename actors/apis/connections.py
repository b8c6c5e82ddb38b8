"""What a client needs before it can connect: its library, a key, an address."""

import ipaddress
import os
import re
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BeforeValidator

from raysmooth.actors.apis.failures import Transient
from raysmooth.common.errors import RaysmoothError, one_line, printable

REQUESTS_AT_ONCE = 1000
"""Threads and connections that a client may have, as many as the largest --concurrency; made as they are needed."""


def require_library(api: str, *modules: str) -> None:
    """Raise RaysmoothError unless all `modules`, of the extra that is named after the API, are installed."""
    for module in modules:
        try:
            found = find_spec(module) is not None
        except ModuleNotFoundError:  # not even the package around it
            found = False
        if not found:
            raise RaysmoothError(f"{api} needs {module}: pip install 'raysmooth[{api}]'")


def _variable(written: Any) -> Any:
    if written is not None and not re.fullmatch("[A-Z][A-Z0-9_]{0,63}", str(written)):
        raise RaysmoothError(
            "key_env names an environment variable, in capital letters, such as VISION_KEY: never write a key itself"
        )
    return written


KeyVariable = Annotated[str, BeforeValidator(_variable)]
"""The type of the option `key_env`. A key that is written in its place must not get into a manifest."""


def read_key(api: str, variable: str) -> str:
    """The key in an environment variable. Raises RaysmoothError if it is not set, and if it is no key; no message has
    it.
    """
    key = os.environ.get(variable, "").strip()
    if not key:
        raise RaysmoothError(
            f"{api}: the environment variable {printable(variable)} is not set: put the key into it, on every machine "
            "that asks"
        )
    if not (key.isascii() and key.isprintable()):  # clients repeat headers that they do not take
        raise RaysmoothError(
            f"{api}: the environment variable {printable(variable)} has a line break, or another character that no key "
            "has: put the key alone into it"
        )
    return key


@dataclass(frozen=True)
class Address:
    """Where an API is. `port` is the scheme's own unless written; `path` begins with "/" or is empty."""

    secure: bool
    host: str
    port: int
    path: str

    @property
    def url(self) -> str:
        return f"{'https' if self.secure else 'http'}://{self.target}{self.path}"

    @property
    def target(self) -> str:
        """Host and port, as gRPC writes them."""
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def read_address(api: str, endpoint: str, plain_http: bool | None = None) -> Address:
    """`--endpoint` as an address: https://HOST[:PORT][/PATH], or http:// on this machine alone, since elsewhere a key
    and pictures would be sent in the clear; with `plain_http`, an option of APIs of one's own (None: it has no such
    option), on any. Raises RaysmoothError for any other.
    """
    where = f"--endpoint {shown_endpoint(endpoint)}"
    try:
        parts = urlsplit(endpoint)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise RaysmoothError(f"{where}: {error}: write https://HOST or https://HOST:PORT") from None
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise RaysmoothError(f"the endpoint of {api} has a user, a key or a query in it: write https://HOST/PATH alone")
    if parts.scheme not in ("http", "https") or not host:
        raise RaysmoothError(f"{where}: write it as https://HOST or https://HOST:PORT")
    if parts.scheme == "http" and not plain_http and not _is_this_machine(host):
        secure = printable(f"https://{endpoint.partition('://')[2]}")
        instead = secure if plain_http is None else f"{secure} or {api}:plain_http=true"
        raise RaysmoothError(f"{where}: the key and the pictures would be sent in the clear: write {instead}")
    return Address(parts.scheme == "https", host, port or (443 if parts.scheme == "https" else 80), parts.path)


def shown_endpoint(endpoint: str) -> str:
    """An endpoint for messages, unless it may hold a password or a key."""
    return "(not shown, as it may hold a key)" if {*endpoint} & {*"@?#"} else printable(endpoint)


def written_endpoint(api: str, endpoint: str | None, plain_http: bool | None = None) -> str | None:
    """An endpoint in the form in which it decides a query's identity; None is the vendor's own."""
    return None if endpoint is None else read_address(api, endpoint, plain_http).url.rstrip("/")


def seconds_to_wait(written: object) -> float | None:
    """What a header Retry-After asks for; None if there is none, or a date in its place."""
    try:
        seconds = float(str(written))
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None


UNREADABLE = (AttributeError, IndexError, KeyError, TypeError, ValueError, RecursionError)
"""What a vendor's client raises while it reads an answer that is none, as of a proxy or in an outage."""


def unreadable(api: str, error: Exception) -> Transient:
    """What an error of UNREADABLE means: the status is not known, but the request may have been paid for."""
    return Transient(f"{api}: its client cannot read the answer: {type(error).__name__}: {one_line(error)}")


def never_sent(reason: str) -> bool:
    """Whether gRPC's words for an unavailable server mean that the request did not leave this machine."""
    return any(words in reason for words in _NO_CONNECTION)


_NO_CONNECTION = (
    "failed to connect to all addresses",
    "Connection refused",
    "DNS resolution failed",
    "Name or service not known",
    "Getting metadata from plugin failed",
)


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
