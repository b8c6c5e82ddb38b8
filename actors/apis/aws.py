"""Amazon Rekognition: DetectLabels, through boto3.

$1.00 for 1,000 pictures up to a million a month in us-east-1, and 5 pictures a second by the default quota (50 in
us-east-1 and us-west-2): both from older lists, as no present one could be seen on 1 December 2026.
"""

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Annotated, Any

from pydantic import Field
from pydantic.dataclasses import dataclass

from raysmooth.actors.apis.answers import Answer, Picture, read_tag
from raysmooth.actors.apis.connections import (
    REQUESTS_AT_ONCE,
    UNREADABLE,
    read_address,
    read_key,
    require_library,
    seconds_to_wait,
    unreadable,
    written_endpoint,
)
from raysmooth.actors.apis.failures import ApiFailure, PictureRefused, Throttled, Transient
from raysmooth.common.errors import RaysmoothError, nearest, one_line
from raysmooth.common.settings import Options

_LONGEST_REQUEST = 60.0
_LONGEST_CONNECT = 10.0
"""Seconds: a thread that waits longer than its caller ends by itself."""

_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN")
"""Variables of boto3's chain; the last one is an older name of the token."""

_THROTTLED = (
    "ThrottlingException",
    "Throttling",
    "ProvisionedThroughputExceededException",
    "TooManyRequestsException",
    "RequestLimitExceeded",
)
_REFUSED = ("InvalidImageFormatException", "ImageTooLargeException")
_NO_ACCESS = (
    "UnrecognizedClientException",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "IncompleteSignature",
    "MissingAuthenticationTokenException",
    "ExpiredTokenException",
    "ExpiredToken",
)


@dataclass(frozen=True)
class AwsOptions(Options):
    """Scores are AWS's confidences / 100."""

    region: str = Field(description="the one to ask", examples=["us-east-1"])
    max_labels: Annotated[int, Field(ge=1, le=1000)] = 100
    min_confidence: Annotated[float, Field(ge=0, le=100)] = 55.0


def describe(options: AwsOptions, endpoint: str | None) -> Mapping[str, Any]:
    return {
        "api": "aws",
        "operation": "DetectLabels",
        "region": options.region,
        "max_labels": options.max_labels,
        "min_confidence": options.min_confidence,
        "endpoint": written_endpoint("aws", endpoint),
    }


def facts(options: AwsOptions) -> Mapping[str, Any]:
    """What `ApiEntry` says of a region."""
    return {"rate": 50.0 if options.region in ("us-east-1", "us-west-2") else 5.0}


def check(options: AwsOptions, endpoint: str | None) -> None:
    if endpoint is not None:
        read_address("aws", endpoint)
    require_library("aws", "boto3")
    import boto3
    from botocore.exceptions import BotoCoreError

    for variable in _CREDENTIALS:
        if os.environ.get(variable):
            read_key("aws", variable)
    try:
        session = boto3.session.Session()
        known = [
            region
            for partition in session.get_available_partitions()
            for region in session.get_available_regions("rekognition", partition)
        ]
        found = session.get_credentials()
    except BotoCoreError as error:  # of a profile that there is not, of a file that cannot be read
        raise RaysmoothError(f"aws: {one_line(error)}: see `aws configure list`") from None
    if options.region not in known and endpoint is None:
        raise RaysmoothError(f"aws: Rekognition is not in region '{options.region}': {nearest(options.region, known)}")
    if found is None:
        raise RaysmoothError(
            "aws: no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, run `aws configure`, or give the "
            "machine a role"
        )


class Rekognition:
    """DetectLabels; boto3 blocks, so each request has a thread. An endpoint in boto3's own settings is ignored, since
    no identity would have it.
    """

    def __init__(self, options: AwsOptions, endpoint: str | None) -> None:
        require_library("aws", "boto3")
        import boto3
        from botocore.config import Config

        self._options = options
        self._threads = ThreadPoolExecutor(REQUESTS_AT_ONCE)
        config = Config(
            retries={"total_max_attempts": 1, "mode": "standard"},
            max_pool_connections=REQUESTS_AT_ONCE,
            connect_timeout=_LONGEST_CONNECT,
            read_timeout=_LONGEST_REQUEST,
            ignore_configured_endpoint_urls=True,
        )
        session = boto3.session.Session(region_name=options.region)
        self._credentials = session.get_credentials()
        self.secrets: tuple[str, ...] = ()
        self._client = session.client(
            "rekognition",
            endpoint_url=None if endpoint is None else read_address("aws", endpoint).url,
            config=config,
        )

    async def classify(self, pictures: Sequence[Picture]) -> list[Answer | PictureRefused]:
        from botocore import exceptions
        from botocore.parsers import ResponseParserError

        (picture,) = pictures
        send = partial(self._sent, picture)
        try:
            return [_read(await asyncio.get_running_loop().run_in_executor(self._threads, send))]
        except exceptions.ClientError as error:
            failure = _failure(error)
            if isinstance(failure, PictureRefused):
                return [failure]
            raise failure from None
        except ResponseParserError as error:
            return [PictureRefused(f"not an answer: {one_line(error)}")]
        except (exceptions.EndpointConnectionError, exceptions.ConnectTimeoutError, exceptions.SSLError) as error:
            raise Transient(f"aws: {one_line(error)}", billed=False) from None
        except exceptions.HTTPClientError as error:
            raise Transient(f"aws: {one_line(error)}") from None
        except (exceptions.NoCredentialsError, exceptions.CredentialRetrievalError) as error:
            raise ApiFailure(f"aws: {one_line(error)}: run `aws configure`, or give the machine a role") from None
        except exceptions.BotoCoreError as error:
            raise ApiFailure(f"aws: {one_line(error)}") from None
        except UNREADABLE as error:
            raise unreadable("aws", error) from None

    def _sent(self, picture: Picture) -> Mapping[str, Any]:
        """The answer; in a thread, where expired credentials are fetched again."""
        if self._credentials is not None:
            now = self._credentials.get_frozen_credentials()
            self.secrets = tuple(text for text in (now.access_key, now.secret_key, now.token) if text)
        answer: Mapping[str, Any] = self._client.detect_labels(
            Image={"Bytes": picture.encoded},
            MaxLabels=self._options.max_labels,
            MinConfidence=self._options.min_confidence,
        )
        return answer

    async def close(self) -> None:
        self._client.close()
        self._threads.shutdown(wait=False, cancel_futures=True)


def _read(answer: Mapping[str, Any]) -> Answer | PictureRefused:
    body = {key: value for key, value in answer.items() if key != "ResponseMetadata"}
    raw, version = json.dumps(body, ensure_ascii=False), body.get("LabelModelVersion")
    try:
        tags = tuple(
            read_tag(label["Name"], label["Confidence"] / 100, [parent["Name"] for parent in label.get("Parents", ())])
            for label in body["Labels"]
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return PictureRefused(f"not an answer: {type(error).__name__}: {one_line(error)}", raw, version)
    return Answer(tags, version, raw)


def _failure(error: Any) -> Exception:
    """What an answer of 4xx or 5xx means; throttling is a 400 too."""
    code = error.response.get("Error", {}).get("Code", "")
    message = one_line(error.response.get("Error", {}).get("Message") or code)
    about = error.response.get("ResponseMetadata", {})
    status, wait = about.get("HTTPStatusCode", 0), seconds_to_wait(about.get("HTTPHeaders", {}).get("retry-after"))
    if code in _THROTTLED or status == 429:
        return Throttled(f"aws: {code}: {message}", wait)
    if code in _REFUSED:
        return PictureRefused(f"{code}: {message}", json.dumps(error.response.get("Error", {}), ensure_ascii=False))
    if code == "AccessDeniedException":
        return ApiFailure(f"aws: {message}: allow rekognition:DetectLabels")
    if code in _NO_ACCESS or status in (401, 403):
        return ApiFailure(f"aws does not accept the credentials ({code}: {message}): run `aws sts get-caller-identity`")
    if status >= 500:
        return Transient(f"aws: {code}: {message}", retry_after=wait)
    return ApiFailure(f"aws refuses the request: {code}: {message}")
