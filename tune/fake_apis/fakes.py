"""The fake APIs by name, and how to run one."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from raysmooth.common.late_imports import LateCallable
from raysmooth.common.registry import Registry
from raysmooth.tune.fake_apis.conduct import Conduct


@dataclass(frozen=True)
class Address:
    """Where a fake API is: what to write as `--endpoint`, the environment that its client needs, with a key that is
    accepted, and the URL of its bill.
    """

    endpoint: str
    bill: str
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class FakeEntry:
    """`serve`: an async context, of a `FakeService` and a port (0 for any free one), that serves it at an `Address`."""

    summary: str
    serve: Callable[..., AbstractAsyncContextManager[Address]]


def over_rest(routes: LateCallable, path: str = "", *key_envs: str) -> Any:
    """`FakeEntry.serve` for a protocol over HTTP. `routes` makes its routes of a service; `path`: of the endpoint;
    `key_envs`: the variables from which its client takes the key.
    """

    @asynccontextmanager
    async def serve(service: Any, port: int) -> AsyncIterator[Address]:
        from raysmooth.tune.fake_apis.rest_server import rest_server

        environment = dict.fromkeys(key_envs, service.conduct.key)
        async with rest_server(service, routes(service), port) as base:
            yield Address(base + path, f"{base}/bill", environment)

    return serve


def _routes(path: str) -> LateCallable:
    return LateCallable(f"raysmooth.tune.fake_apis.{path}")


FAKE_APIS: Registry[FakeEntry] = Registry(
    "fake API",
    {
        "google": FakeEntry(
            "Google Cloud Vision over gRPC; a request without a key is taken for one of a machine's own role",
            _routes("grpc_server:serve_google"),
        ),
        "google-rest": FakeEntry(
            "Google Cloud Vision over REST, for google:transport=rest",
            over_rest(_routes("google_routes:google_routes"), "", "GOOGLE_API_KEY"),
        ),
        "aws": FakeEntry(
            "Amazon Rekognition; pictures of 80 pixels or more; the key is AWS_ACCESS_KEY_ID",
            over_rest(_routes("aws_routes:aws_routes"), "", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
        ),
        "azure": FakeEntry(
            "Azure AI Vision, Image Analysis 4.0; pictures of more than 50 pixels; azure:key_env=AZURE_VISION_KEY",
            over_rest(_routes("azure_routes:azure_routes"), "", "AZURE_VISION_KEY"),
        ),
        "clarifai": FakeEntry("Clarifai over gRPC", _routes("grpc_server:serve_clarifai")),
        "openai": FakeEntry(
            "a chat endpoint in OpenAI's protocol; its labels are those of the request",
            over_rest(_routes("openai_routes:openai_routes"), "/v1", "OPENAI_API_KEY"),
        ),
        "oip": FakeEntry(
            "a server of the Open Inference Protocol, version 2: pixels in, logits out; the key is a bearer token",
            over_rest(_routes("oip_routes:oip_routes"), "", "FAKE_API_KEY"),
        ),
        "http": FakeEntry(
            "a classifier behind HTTP: bytes or JSON in, JSON out; the key is a header X-Api-Key",
            over_rest(_routes("http_routes:http_routes"), "/classify", "FAKE_API_KEY"),
        ),
    },
)


@dataclass(frozen=True)
class Running:
    """A fake API that runs in a thread of this process. `service` has its bill."""

    address: Address
    service: Any

    @property
    def bill(self) -> dict[str, Any]:
        """The bill as it stands."""
        return dict(self.service.bill.as_json())


@contextmanager
def running(name: str, conduct: Conduct | None = None, classifier: Any = None, port: int = 0) -> Iterator[Running]:
    """Run the fake API `name` in a thread of its own. `classifier`: a `PixelClassifier`, the nearest colour if None.

    Raises RaysmoothError for an unknown name.
    """
    from raysmooth.tune.fake_apis.classify import nearest_colour
    from raysmooth.tune.fake_apis.service import FakeService

    serve = FAKE_APIS[name].serve
    service = FakeService(conduct or Conduct(), classifier or nearest_colour())
    loop, ready, over = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    addresses: list[Address] = []
    errors: list[Exception] = []

    async def main() -> None:
        try:
            async with serve(service, port) as address:
                addresses.append(address)
                ready.set()
                await over.wait()
        except Exception as error:  # whatever it is, the caller has to hear of it
            errors.append(error)
        finally:
            ready.set()

    def serve_until_over() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:  # ends what is still stalled, and the loop
            runner.run(main())

    thread = threading.Thread(target=serve_until_over, name=f"fake {name}", daemon=True)
    thread.start()
    ready.wait()
    try:
        if errors:
            raise errors[0]
        yield Running(addresses[0], service)
    finally:
        if thread.is_alive():
            loop.call_soon_threadsafe(over.set)
        thread.join()
