"""The dashboard of a Ray cluster, which accepts jobs: its address, its token, and whether it accepts the token."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from raysmooth.common.errors import RaysmoothError

DEFAULT_ADDRESS = "http://127.0.0.1:8265"
"""The local address at which `ray dashboard` makes a cluster's dashboard available."""

_ANSWER_SECONDS = 10.0
_GCS_PORT = 6379
_HOW_TO_REACH = (
    "run `ray dashboard cluster.yaml`, which forwards the cluster's dashboard to this machine, then try again"
)
_HOW_TO_GIVE_A_TOKEN = "set RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH to its file, or put it into ~/.ray/auth_token"


@dataclass(frozen=True)
class Token:
    """The secret that all nodes of a cluster share, and the `source` where it was found."""

    secret: str
    source: str

    def __repr__(self) -> str:
        return f"Token(from {self.source})"


@dataclass(frozen=True)
class Dashboard:
    """A dashboard that has answered. `address` is http(s)://HOST:PORT; each request has the `token`, if any."""

    address: str
    token: Token | None

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token.secret}"} if self.token else {}

    def command(self, *words: str) -> str:
        """`ray job WORDS` for this cluster, as a person would write it."""
        mode = "RAY_AUTH_MODE=token " if self.token and os.environ.get("RAY_AUTH_MODE") != "token" else ""
        return f"{mode}ray job {' '.join(words)} --address {self.address}"


def find_dashboard(address: str | None, environment: Mapping[str, str] = os.environ) -> Dashboard:
    """The dashboard at `address`, else that of RAY_API_SERVER_ADDRESS or RAY_ADDRESS, else at `DEFAULT_ADDRESS`.

    Raises RaysmoothError if nothing answers within seconds, if it is not a Ray dashboard, or if the token is missing
    or wrong.
    """
    named = [("--address", address)]
    named += [(name, environment.get(name)) for name in ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")]
    source, given = next(((source, given) for source, given in named if given), ("", DEFAULT_ADDRESS))
    dashboard = Dashboard(_url(given, source), find_token(environment))
    _refuse_strangers(dashboard)
    return dashboard


def find_token(environment: Mapping[str, str] = os.environ) -> Token | None:
    """The token from the places where Ray looks for it: RAY_AUTH_TOKEN, the file RAY_AUTH_TOKEN_PATH,
    ~/.ray/auth_token; None without a token, or if RAY_AUTH_MODE is disabled. Raises RaysmoothError if the file of
    RAY_AUTH_TOKEN_PATH cannot be read.
    """
    if environment.get("RAY_AUTH_MODE", "").lower() == "disabled":
        return None
    if secret := environment.get("RAY_AUTH_TOKEN", "").strip():
        return Token(secret, "RAY_AUTH_TOKEN")
    if named := environment.get("RAY_AUTH_TOKEN_PATH"):
        try:
            secret = Path(named).expanduser().read_text().strip()
        except OSError as error:
            raise RaysmoothError(
                f"RAY_AUTH_TOKEN_PATH={named}: {error.strerror}: name the file of the token"
            ) from error
        if not secret:
            raise RaysmoothError(f"RAY_AUTH_TOKEN_PATH={named}: the file is empty: write the cluster's token into it")
        return Token(secret, f"RAY_AUTH_TOKEN_PATH={named}")
    home = Path(environment.get("HOME", str(Path.home()))) / ".ray" / "auth_token"
    try:
        secret = home.read_text().strip()
    except OSError:
        return None
    return Token(secret, str(home)) if secret else None


def _url(given: str, source: str) -> str:
    """`given` as http(s)://HOST:PORT."""
    whole = given if "://" in given else f"http://{given}"
    where = f"{source} {given}" if source.startswith("-") else f"{source}={given}"
    try:
        parts = urlsplit(whole)
        scheme, host, port = parts.scheme, parts.hostname, parts.port
    except ValueError:
        scheme, host, port = "", None, None
    if scheme not in ("http", "https") or not host or ("://" not in given and port is None):
        raise RaysmoothError(f"{where}: write the dashboard's address, such as {DEFAULT_ADDRESS}")
    if port == _GCS_PORT:
        raise RaysmoothError(
            f"{where}: that port is for nodes; jobs go to the dashboard: write http://{host}:8265, say"
        )
    return whole.rstrip("/")


def _refuse_strangers(dashboard: Dashboard) -> None:
    """Raises RaysmoothError unless a Ray dashboard answers and accepts the token."""
    where = dashboard.address
    try:
        with urlopen(Request(f"{where}/api/version", headers=dashboard.headers), timeout=_ANSWER_SECONDS) as response:
            answer: Any = json.load(response)
    except HTTPError as error:
        if error.code == 401:
            raise RaysmoothError(
                f"the cluster at {where} requires a token, and none was found: {_HOW_TO_GIVE_A_TOKEN}"
            ) from None
        if error.code == 403:
            given = dashboard.token.source if dashboard.token else "a proxy's login"
            raise RaysmoothError(
                f"the cluster at {where} rejects the token of {given}: it is another cluster's, or old: "
                f"{_HOW_TO_GIVE_A_TOKEN}"
            ) from None
        raise RaysmoothError(
            f"{where} is not a Ray dashboard (it answers with HTTP {error.code}): check --address"
        ) from None
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        said = getattr(reason, "strerror", None) or reason or type(reason).__name__
        raise RaysmoothError(f"no Ray dashboard answers at {where} ({said}): {_HOW_TO_REACH}") from None
    except ValueError:
        answer = None
    if not isinstance(answer, dict) or "ray_version" not in answer:
        raise RaysmoothError(f"{where} answers, but is not a Ray dashboard: check --address")
