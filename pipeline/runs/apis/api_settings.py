"""What goes with a vision API as the classifier, and what does not: its weights and gradients are not at hand."""

from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

from raysmooth.actors.apis.apis import is_api
from raysmooth.actors.apis.connections import shown_endpoint
from raysmooth.actors.models.rejectors import NO_REJECTOR, UNANSWERED
from raysmooth.actors.queries.pictures import read_encoding, read_upscale
from raysmooth.common.errors import RaysmoothError, printable

_NOT_OF_APIS: Mapping[str, str] = {
    "classifier_weights": "an API has its own weights",
    "consensus": "an API is no ensemble of weights files",
    "preprocess": "an API is sent pictures, and normalises them itself",
    "input_size": "an API resizes pictures itself: --upscale enlarges what it is sent",
    "interpolation": "an API resizes pictures itself: --upscale enlarges what it is sent",
    "rejector_weights": "an API answers labels, which say nothing of its doubts",
    "sigmas": "levels are found with gradients or many draws of every image, and an API has no gradients",
    "search": "levels are found with gradients or many draws of every image, and an API has no gradients",
    "batch_size": "--concurrency says how much an API is asked at once",
}
"""Settings that are left out with an API, and why."""


def settled_rejector(values: Any) -> Any:
    """`values` of settings where the classifier is an API, with what such a run has in place of a rejector. Raises
    RaysmoothError for a rejector.
    """
    classifier = values.get("classifier") if isinstance(values, Mapping) else None
    if not isinstance(classifier, str) or not is_api(classifier):
        return values
    rejector = values.get("rejector")
    if rejector not in (None, NO_REJECTOR, UNANSWERED):
        raise RaysmoothError(
            f"--rejector {printable(str(rejector))}: an API answers labels, which say nothing of its doubts: leave it "
            "out, draws without an answer support no class"
        )
    return {**values, "rejector": UNANSWERED}


class ApiSettings(Protocol):
    """Settings of certify or predict, as far as they concern APIs."""

    @property
    def classifier(self) -> str: ...

    @property
    def endpoint(self) -> str | None: ...

    @property
    def encoding(self) -> str: ...

    @property
    def upscale(self) -> str: ...

    @property
    def precision(self) -> str: ...

    @property
    def compile(self) -> str: ...


def refuse_network_settings(settings: ApiSettings) -> None:
    """Raises RaysmoothError for settings that an API has no use for, and for how pictures are made that no one knows.
    Nothing is done with settings of other classifiers.
    """
    if not is_api(settings.classifier):
        return
    for name, why in _NOT_OF_APIS.items():
        if getattr(settings, name, None) is not None:
            raise RaysmoothError(
                f"--{name.replace('_', '-')} with --classifier {printable(settings.classifier)}: {why}: leave it out"
            )
    if settings.precision not in ("auto", "float32"):
        raise RaysmoothError(
            f"--precision {settings.precision}: what stands before an API is computed in float32: leave it out"
        )
    if settings.compile == "on":
        raise RaysmoothError("--compile on: what stands before an API is not compiled: leave it out")
    read_encoding(settings.encoding)
    read_upscale(settings.upscale)
    if settings.endpoint is not None:
        _refuse_credentials(settings.endpoint)


def _refuse_credentials(endpoint: str) -> None:
    """Raises RaysmoothError for a URL with a password in it: it would be written into manifests."""
    try:
        parts = urlsplit(endpoint)
        named = parts.username is not None or parts.password is not None
    except ValueError:
        shown = shown_endpoint(endpoint)
        raise RaysmoothError(f"--endpoint {shown}: not a URL: write http://host:8000/path, say") from None
    if named:
        raise RaysmoothError(
            "--endpoint has a user or password in it, which would be in every manifest: write the URL without, and let "
            "the API's environment variable hold the key"
        )
