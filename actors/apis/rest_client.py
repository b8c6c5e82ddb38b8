"""Requests over HTTP for APIs without a client of their own, and what their failures mean."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.request import getproxies_environment

from raysmooth.actors.apis.connections import REQUESTS_AT_ONCE, seconds_to_wait
from raysmooth.actors.apis.failures import ApiFailure, PictureRefused, Throttled, Transient
from raysmooth.common.errors import one_line, printable

if TYPE_CHECKING:
    import aiohttp

MOST_BYTES = 16 * 2**20
"""Of an answer."""

LARGEST_LOGGED = 2**16

SECONDS_TO_CONNECT = 10.0

DOUBTS = 20
"""Refusals in a row, without an answer before them, after which the request itself must be wrong."""


@dataclass(frozen=True)
class Reply:
    """What came back: `body` whole, and the headers that matter."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body for messages, in one line of at most 200 characters."""
        return printable(one_line(self.body.decode(errors="replace"), whole=True)) if self.body else ""

    @property
    def raw(self) -> str:
        """The body for the log, as JSON: as it is or, if it is large or no JSON, a JSON string of its beginning."""
        try:
            if len(self.body) > LARGEST_LOGGED:
                raise ValueError("too large")
            json.loads(self.body)
            return self.body.decode()
        except (ValueError, RecursionError):
            return json.dumps(self.body.decode(errors="replace")[:4096], ensure_ascii=False)


class RestClient:
    """Posts with aiohttp, whose session is opened with the first request, inside the event loop. It follows no
    redirection, since a key must not go elsewhere, and sets no limit to an answer's time: its caller does.

    `api`: its name in messages. `answered`: whether a request of this client has had a usable answer. All requests have
    one form and differ in the picture alone, so that from then on a refusal is the picture's fault; before, it is taken
    for that up to `doubts` - 1 times, since a run may go on with pictures that were refused last time.
    """

    def __init__(
        self,
        api: str,
        throttled: Collection[int] = (429,),
        refused: Collection[int] = (),
        doubts: int = DOUBTS,
    ) -> None:
        self.api, self.answered = api, False
        self._doubts = doubts
        self._throttled, self._refused = throttled, refused
        self._session: aiohttp.ClientSession | None = None

    async def send(self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]) -> Reply:
        """The reply to a request, whatever its status. Raises Transient where there is none, and PictureRefused for one
        of more than MOST_BYTES.
        """
        import aiohttp

        try:
            async with self._opened().request(
                method, url, data=body, headers=headers, allow_redirects=False
            ) as response:
                received = bytearray()
                async for chunk in response.content.iter_chunked(2**16):
                    received += chunk
                    if len(received) > MOST_BYTES:
                        raise PictureRefused(f"an answer of more than {MOST_BYTES:,} bytes")
                return Reply(response.status, dict(response.headers), bytes(received))
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise Transient(f"{self.api}: {one_line(error)}", billed=False) from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            # Its text has the URL, and so what stands after ? in it.
            said = f"no HTTP: {error.message}" if isinstance(error, aiohttp.ClientResponseError) else error
            raise Transient(f"{self.api}: {one_line(said, whole=True)}") from None

    def failure(self, reply: Reply) -> Throttled | Transient | PictureRefused | ApiFailure:
        """What a reply that is no answer means, by its status."""
        status, text = reply.status, reply.text
        reason = f"{self.api}: HTTP {status}: {text}" if text else f"{self.api}: HTTP {status}"
        wait = seconds_to_wait(reply.headers.get("Retry-After"))
        if status in self._throttled:
            return Throttled(reason, wait)
        if status in self._refused:
            return PictureRefused(reason, reply.raw)
        if status == 402 or (status == 403 and "quota" in text.lower()):
            return ApiFailure(f"{self.api}: HTTP {status}: the account has no money or quota left")
        if status in (401, 403):
            return ApiFailure(f"{self.api}: HTTP {status}: the key is missing, not valid, or not allowed to do this")
        if status in (404, 405, 410):
            return ApiFailure(f"{reason}: --endpoint or the model's name is not right")
        if 300 <= status < 400:
            # Without a query, which may repeat a key of ours.
            where = printable(reply.headers.get("Location", "elsewhere").partition("?")[0])
            return ApiFailure(f"{reason}: it redirects to {where}: write that as --endpoint if you trust it")
        if status in (408, 409, 425) or status >= 500:
            return Transient(reason, retry_after=wait)
        self._doubts -= not self.answered
        return self.misfit(reply, f"HTTP {status}: {text}", self._doubts > 0)

    def misfit(self, reply: Reply, reason: str, trusted: bool = False) -> PictureRefused | ApiFailure:
        """What it means that a reply is not what was asked for. `trusted`: that the request is right."""
        if self.answered or trusted:
            return PictureRefused(reason, reply.raw)
        doubt = "no request has had an answer yet, so that the request may be wrong"
        return ApiFailure(f"{self.api}: {reason}: {doubt}", billed=reply.status < 300)

    def _opened(self) -> "aiohttp.ClientSession":
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=REQUESTS_AT_ONCE),
                timeout=aiohttp.ClientTimeout(total=None, connect=None, sock_connect=SECONDS_TO_CONNECT),
                # Only where there is a proxy: it also looks for a .netrc, in a thread, with every request.
                trust_env=bool(getproxies_environment()),
            )
        return self._session

    async def close(self) -> None:
        """Close its connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None
