"""Any black box behind HTTP: an image file or JSON with it goes in, JSON with labels comes back, as a file says."""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from pydantic import Field
from pydantic.dataclasses import dataclass

from raysmooth.actors.apis.answers import Answer, Picture
from raysmooth.actors.apis.connections import read_address, read_key, written_endpoint
from raysmooth.actors.apis.failures import ApiFailure, PictureRefused
from raysmooth.actors.apis.http_request import HttpRequest, Unreadable
from raysmooth.actors.apis.rest_client import Reply, RestClient
from raysmooth.common.errors import RaysmoothError, one_line
from raysmooth.common.settings import Options, checked


@dataclass(frozen=True)
class HttpOptions(Options):
    """A file for the request, since headers and templates do not fit into a flag."""

    request: str = Field(
        description="a YAML file: what is sent, and where the labels are in the answer", examples=["request.yaml"]
    )
    plain_http: bool = False


def describe(options: HttpOptions, endpoint: str | None) -> Mapping[str, Any]:
    return {
        "api": "http",
        "endpoint": written_endpoint("http", endpoint, options.plain_http),
        "request_sha256": _request(options).identity,
    }


def closed_labels(options: HttpOptions) -> Sequence[str] | None:
    return _request(options).classes


def check(options: HttpOptions, endpoint: str | None) -> None:
    if endpoint is None:
        raise RaysmoothError("http needs --endpoint https://HOST/PATH, where the black box is")
    read_address("http", endpoint, options.plain_http)
    for variable in _request(options).variables:
        read_key("http", variable)


def _request(options: HttpOptions) -> HttpRequest:
    return checked(HttpRequest, {}, options.request)


class HttpClassifier:
    """One picture, one request."""

    def __init__(self, options: HttpOptions, endpoint: str | None) -> None:
        check(options, endpoint)
        request = self._request = _request(options)
        query = request.filled(request.query)
        base = read_address("http", endpoint or "", options.plain_http).url
        self._url = f"{base}?{urlencode(query)}" if query else base
        self._headers = request.filled(request.headers)
        self.secrets = [read_key("http", variable) for variable in request.variables]
        self._client = RestClient("http", request.throttled, request.refused)

    async def classify(self, pictures: Sequence[Picture]) -> list[Answer | PictureRefused]:
        (picture,) = pictures
        body, media_type = self._request.content(picture)
        headers = {"Content-Type": media_type, **self._headers}
        try:
            reply = await self._client.send(self._request.method, self._url, body, headers)
            if reply.status not in (200, 201):
                raise self._client.failure(reply)
            answer = self._read(reply)
        except PictureRefused as refused:
            return [refused]
        self._client.answered = True
        return [answer]

    async def close(self) -> None:
        await self._client.close()

    def _read(self, reply: Reply) -> Answer:
        """Raises PictureRefused or ApiFailure for a reply without labels."""
        try:
            content = json.loads(reply.body)
            return Answer(self._request.tags(content), self._request.version_of(content), reply.raw)
        except (Unreadable, ValueError, RecursionError) as error:
            failure = self._client.misfit(reply, f"not an answer: {one_line(error)}: {reply.text}")
        if isinstance(failure, ApiFailure):
            raise ApiFailure(f"{failure}: correct the file of http:request", failure.billed) from None
        raise failure
