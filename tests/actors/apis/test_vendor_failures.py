"""What the vendors' errors mean that the fake APIs do not make: tokens, rights, statuses of one picture."""

import pytest

from raysmooth.actors.apis import aws, azure, clarifai, google
from raysmooth.actors.apis.failures import ApiFailure, PictureRefused, Throttled, Transient


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (11003, ApiFailure),  # CONN_EXCEED_HOURLY_LIMIT
        (11008, ApiFailure),  # CONN_KEY_INVALID
        (21201, ApiFailure),  # MODEL_PERMISSION_DENIED
        (21202, ApiFailure),  # MODEL_INVALID_ARGUMENT
        (21313, Transient),  # MODEL_PREDICTION_FAILED
        (21354, Throttled),  # MODEL_BUSY_PLEASE_RETRY
        (21355, Transient),  # MODEL_LOADING
        (30002, PictureRefused),  # INPUT_DOWNLOAD_FAILED
        (40032, Transient),  # RPC_REQUEST_TIMEOUT
        (47104, PictureRefused),  # MP_IMAGE_DECODE_ERROR
        (98004, Transient),  # INTERNAL_SERVER_ISSUE
        (99009, Transient),  # INTERNAL_UNCATEGORIZED
        (12, ApiFailure),  # a status that its library does not know
    ],
)
def test_statuses_of_clarifai(code: int, outcome: type[Exception]) -> None:
    from clarifai_grpc.grpc.api.status import status_pb2

    failure = clarifai._failure(status_pb2.Status(code=code, description="in words"), clarifai.ClarifaiOptions())
    assert type(failure) is outcome
    assert str(code) in str(failure)
    assert "in words" in str(failure)
    if isinstance(failure, Transient):
        assert failure.billed is (code not in (21355,))


@pytest.mark.parametrize(
    ("code", "outcome"),
    [(1, Transient), (3, PictureRefused), (7, ApiFailure), (8, Throttled), (13, Transient), (14, Transient)],
)
def test_a_picture_of_google_has_a_status_of_its_own_inside_a_200(code: int, outcome: type[Exception]) -> None:
    from google.cloud.vision_v1 import AnnotateImageResponse

    response = AnnotateImageResponse(error={"code": code, "message": "in words"})
    try:
        failure: object = google._read(response, google.GoogleOptions())
    except (ApiFailure, Throttled, Transient) as error:
        failure = error
    assert type(failure) is outcome
    assert "in words" in str(failure)


@pytest.mark.parametrize(
    ("code", "message", "outcome", "billed"),
    [
        ("UNAVAILABLE", "failed to connect to all addresses; last error: UNKNOWN", Transient, False),
        ("UNAVAILABLE", "Getting metadata from plugin failed with error: timed out", Transient, False),
        ("UNAVAILABLE", "Getting metadata from plugin failed with error: invalid_grant", ApiFailure, False),
        ("UNAVAILABLE", "recvmsg:Connection reset by peer", Transient, True),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", Transient, True),
        ("ABORTED", "try again", Transient, True),
        ("INTERNAL", "oh", Transient, True),
        ("DATA_LOSS", "oh", Transient, True),
        ("UNAUTHENTICATED", "expired", ApiFailure, False),
        ("PERMISSION_DENIED", "enable the API", ApiFailure, False),
        ("UNIMPLEMENTED", "no such method", ApiFailure, False),
        ("FAILED_PRECONDITION", "billing is not enabled", ApiFailure, False),
        ("RESOURCE_EXHAUSTED", "slower", Throttled, None),
    ],
)  # fmt: skip
def test_statuses_of_google(code: str, message: str, outcome: type[Exception], billed: bool | None) -> None:
    import grpc
    from google.api_core.exceptions import from_grpc_status

    failure = google._failure(from_grpc_status(grpc.StatusCode[code], message), google.GoogleOptions())
    assert type(failure) is outcome, failure
    assert getattr(failure, "billed", None) is billed


@pytest.mark.parametrize(
    ("status", "code", "outcome"),
    [
        (400, "ThrottlingException", Throttled),
        (400, "ProvisionedThroughputExceededException", Throttled),
        (429, "Unheard", Throttled),
        (400, "ImageTooLargeException", PictureRefused),
        (400, "ExpiredTokenException", ApiFailure),
        (400, "AccessDeniedException", ApiFailure),
        (400, "InvalidParameterException", ApiFailure),
        (500, "InternalServerError", Transient),
        (503, "ServiceUnavailable", Transient),
    ],
)
def test_codes_of_aws(status: int, code: str, outcome: type[Exception]) -> None:
    from botocore.exceptions import ClientError

    answer = {
        "Error": {"Code": code, "Message": "in words"},
        "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": {"retry-after": "7"}},
    }
    failure = aws._failure(ClientError(answer, "DetectLabels"))
    assert type(failure) is outcome
    assert "in words" in str(failure)
    if isinstance(failure, Throttled | Transient):
        assert failure.retry_after == 7


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(408, Transient), (413, PictureRefused), (415, PictureRefused), (404, ApiFailure), (502, Transient)],
)
def test_statuses_of_azure(status: int, outcome: type[Exception]) -> None:
    from azure.core.exceptions import HttpResponseError

    error = HttpResponseError("in words")
    error.status_code = status
    failure = azure._failure(error, azure.AzureOptions())
    assert type(failure) is outcome
    assert "in words" in str(failure)


@pytest.mark.parametrize(("wait", "outcome"), [("26", Throttled), ("2246400", ApiFailure), ("tomorrow", Throttled)])
def test_azure_asks_for_some_patience_or_for_another_month(wait: str, outcome: type[Exception]) -> None:
    from types import SimpleNamespace

    from azure.core.exceptions import HttpResponseError

    error = HttpResponseError("call rate limit of your tier")
    error.status_code, error.response = 429, SimpleNamespace(headers={"Retry-After": wait})
    failure = azure._failure(error, azure.AzureOptions())
    assert type(failure) is outcome
    assert getattr(failure, "retry_after", None) == (26 if wait == "26" else None)


def test_azure_without_an_identity_is_a_failure_at_once() -> None:
    from azure.core.exceptions import ClientAuthenticationError

    failure = azure._failure(ClientAuthenticationError("no identity was found"), azure.AzureOptions())
    assert isinstance(failure, ApiFailure)
    assert "az login" in str(failure)
