"""The HTTP side of fake APIs: the routes of one protocol, and the bill."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager

from aiohttp import web

from raysmooth.tune.fake_apis.conduct import Trouble, Troubled
from raysmooth.tune.fake_apis.service import FakeService

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Refuse = Callable[[Troubled], web.Response]

MOST_BYTES = 64 * 2**20
"""Of a request."""

STATUSES: Mapping[Trouble, int] = {
    Trouble.THROTTLED: 429,
    Trouble.WRONG_KEY: 401,
    Trouble.UNKNOWN_MODEL: 404,
    Trouble.EXHAUSTED: 403,
    Trouble.UNAVAILABLE: 503,
}
"""What most protocols answer."""


def retry_header(troubled: Troubled) -> dict[str, str]:
    """The header that says how many seconds to wait, where the service says so."""
    return {} if troubled.retry_after is None else {"Retry-After": f"{troubled.retry_after:g}"}


def answering(handle: Handler, refuse: Refuse) -> Handler:
    """`handle`, with what it raises as the protocol says it: `refuse` makes a response of a `Troubled`, for all but a
    dropped connection and rubbish.
    """

    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            return await handle(request)
        except Troubled as troubled:
            if troubled.trouble is Trouble.RUBBISH:
                return web.Response(text="<html>It works!</html>", content_type="text/html")
            if troubled.trouble is Trouble.RESET:
                if request.transport is not None:
                    request.transport.abort()
                return web.Response()
            return refuse(troubled)

    return answer


@asynccontextmanager
async def rest_server(service: FakeService, routes: Iterable[web.RouteDef], port: int = 0) -> AsyncIterator[str]:
    """Serve `routes`, and the bill at /bill, on this machine alone; the base URL. Port 0 is any free one."""

    async def bill(request: web.Request) -> web.Response:
        return web.json_response(service.bill.as_json())

    app = web.Application(client_max_size=MOST_BYTES)
    app.add_routes([*routes, web.get("/bill", bill)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
