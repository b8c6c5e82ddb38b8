"""Why a picture has no answer: each reason has its own consequence.

| exception | meaning | consequence |
|:--|:--|:--|
| `Throttled` | too many requests; nothing was billed | all replicas slow down; the same picture is sent again |
| `Transient` | a timeout, a reset, a server's error | it is sent again; `billed` if it may have been paid |
| `BatchRefused` | a request of several pictures that is not answered as a whole | each is sent again by itself |
| `PictureRefused` | a picture that it does not take, or an unreadable answer | the draw counts in n, for no class |
| `ApiFailure` | a wrong key, an unknown model, an exhausted quota | the run stops, with one line |
"""

from raysmooth.common.errors import RaysmoothError


class Throttled(Exception):
    """`retry_after`: how many seconds the API asks to wait, if it says so."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class Transient(Exception):
    """`billed`: whether the request may have reached the model, so that it may have been paid for."""

    def __init__(self, reason: str, billed: bool = True, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.billed, self.retry_after = billed, retry_after


class BatchRefused(Transient):
    """Of a request with several pictures: which of them is at fault is not known, and the answer to a picture must not
    depend on those beside it.
    """


class PictureRefused(Exception):
    """The API answered, for good, without a usable answer: a content filter, a bad picture, text that is no label.

    `raw`: the answer as JSON text, as far as there is one; `version` as of `Answer`.
    """

    def __init__(self, reason: str, raw: str = "{}", version: str | None = None) -> None:
        super().__init__(reason)
        self.raw, self.version = raw, version


class AdapterFault(Exception):
    """What no adapter foresees: an error of its own, or of a vendor's client. The run stops."""


class ApiFailure(RaysmoothError):
    """No further request can succeed; the message says what to do. `billed`: whether this one may have been paid for,
    as one whose answer cannot be used.
    """

    def __init__(self, reason: str, billed: bool = False) -> None:
        super().__init__(reason)
        self.billed = billed
