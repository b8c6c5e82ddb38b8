"""A stage that serves a classifier as a vision API on this machine while later stages ask it."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from raysmooth.common.errors import RaysmoothError
from raysmooth.common.hashing import settings_hash
from raysmooth.common.settings import Settings, checked, read_options
from raysmooth.common.variant import Variant
from raysmooth.storage.atomic_file import atomic_file
from raysmooth.storage.object_store import notify
from raysmooth.storage.records import BadRecord, Record, read_record
from raysmooth.tune.experiments.results import file_hash
from raysmooth.tune.fake_apis.conduct import Conduct
from raysmooth.tune.fake_apis.fakes import FAKE_APIS, Running, running


class ServeSettings(Settings):
    """Serve"""

    api: str = Field(
        description=f"The protocol: {', '.join(FAKE_APIS)}; with its conduct as options, as in http:throttle=0.1."
    )
    classifier: str | None = Field(None, description="The classifier that answers. Default: the nearest colour.")
    classifier_weights: str | None = Field(None, description="Its weights, such as @STAGE.")
    downscale: int = Field(1, description="The factor by which pictures are upscaled, undone first.", ge=1)
    out: str = Field("served.json", description="A file that remembers the port, which the experiment sets.")

    @model_validator(mode="after")
    def _refuse_odd(self) -> "ServeSettings":
        _ = self.protocol
        if (self.classifier is None) != (self.classifier_weights is None):
            raise RaysmoothError("serve: write both classifier and classifier_weights, or neither")
        return self

    @property
    def protocol(self) -> tuple[str, Conduct]:
        """The name in FAKE_APIS and its conduct. Raises RaysmoothError for unknown ones."""
        written = Variant.parse_entry(self.api, "fake API", "http:throttle=0.1")
        _ = FAKE_APIS[written.name]
        return written.name, read_options(Conduct, written, "fake API")

    @property
    def digest(self) -> str:
        """What decides the answers: the same on any port."""
        weights = None if self.classifier_weights is None else file_hash(Path(self.classifier_weights))
        return settings_hash([self.api, self.classifier, weights, self.downscale])


def checked_serving(values: Mapping[str, Any]) -> ServeSettings:
    """The settings; raises RaysmoothError, in one line, for those that are wrong."""
    return checked(ServeSettings, values)


class _Served(Record):
    port: Annotated[int, Field(ge=1, le=65_535)]


@contextmanager
def served(settings: ServeSettings) -> Iterator[str]:
    """Serve until the context is left; gives the endpoint. It listens on this machine alone, where it can on the port
    that it had before: an endpoint is part of a run's id. Meanwhile the environment has the keys that its clients need,
    which are its own.
    """
    with ExitStack() as stack:
        server = _started(settings, stack)
        before = {name: os.environ.get(name) for name in server.address.environment}
        os.environ.update(server.address.environment)
        try:
            yield server.address.endpoint
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})


def _started(settings: ServeSettings, stack: ExitStack) -> Running:
    from raysmooth.tune.fake_apis.classify import nearest_colour, trained_network

    name, conduct = settings.protocol
    if settings.classifier is None or settings.classifier_weights is None:
        classifier = nearest_colour(settings.downscale)
    else:
        classifier = trained_network(settings.classifier, settings.classifier_weights, downscale=settings.downscale)
    known = _known_port(Path(settings.out))
    if known is not None:
        try:
            return stack.enter_context(running(name, conduct, classifier, known))
        except OSError:
            notify(f"port {known}, of {settings.out}, is taken: {name} is served on another, for runs of their own")
    server = stack.enter_context(running(name, conduct, classifier))
    _remember_port(Path(settings.out), server.address.endpoint)
    return server


def _known_port(file: Path) -> int | None:
    """The port of an earlier time; None where nothing readable says it."""
    try:
        return read_record(_Served, file).port
    except (FileNotFoundError, BadRecord):
        return None


def _remember_port(file: Path, endpoint: str) -> None:
    ports = re.findall(r":(\d+)", endpoint)
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(file) as partial:
        partial.write_text(json.dumps({"endpoint": endpoint, "port": int(ports[-1])}))
