"""Settings of runs whose classifier is a vision API: how it is asked, which label an answer gives, what it may cost."""

import re
from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from raysmooth.actors.apis.apis import VISION_APIS, is_api
from raysmooth.actors.queries.pictures import read_encoding, read_upscale
from raysmooth.common.errors import RaysmoothError, nearest, printable
from raysmooth.common.settings import Settings
from raysmooth.pipeline.queries.label_rules import LABEL_RULES, read_label_rule
from raysmooth.storage.paths import PathText

CLASS_NAMES, CLASS_NUMBERS = "names", "numbers"
"""Values of `accepted` that need no file: a label is a class of the data if it is its name, or its number."""

_PER = {"s": 1.0, "min": 60.0, "h": 3600.0}
_RATE = re.compile(r"\s*([0-9.eE+-]+)\s*/\s*(s|min|h)\s*")


def read_rate(text: str) -> float:
    """Pictures a second of a rate such as 10/s, 1800/min or 20/h. Raises RaysmoothError for another text."""
    found = _RATE.fullmatch(text)
    try:
        rate = float(found[1]) / _PER[found[2]] if found is not None else 0.0
    except ValueError:
        rate = 0.0
    if not 0 < rate < 1e6:
        raise RaysmoothError(f"--rate {printable(text)}: write pictures a second, minute or hour: 10/s, 1800/min, 20/h")
    return rate


class QuerySettings(Settings):
    """Vision APIs"""

    OF_THE_COMMAND: ClassVar[tuple[str, ...]] = (
        "timeout", "patience", "budget", "max_queries", "price_per_1000", "rate", "concurrency", "offline",
    )  # fmt: skip
    """Those on which no answer and no row depends."""

    endpoint: str | None = Field(
        None, description="URL of the API, where it is not the vendor's own, such as http://localhost:8000."
    )
    label_rule: str = Field(
        "top",
        description="Label of an answer: "
        + "; ".join(f"{entry.written}: {entry.summary}" for entry in LABEL_RULES.values())
        + ". Another rule reads the same answers: nothing is asked again.",
    )
    accepted: PathText | None = Field(
        None,
        description="Which labels count as which class of the data: a YAML file 'class: [label, label]', "
        f"{CLASS_NAMES} (the label is the class's name) or {CLASS_NUMBERS} (its number). Default: the label of the "
        "image without noise is the right one.",
    )
    encoding: str = Field(
        "png",
        description="File in which a picture is sent: png, png:level=0 to 9, or jpeg:quality=95,subsampling=0, which "
        "alters pixels.",
    )
    upscale: str = Field(
        "none", description="Enlarge pictures for an API that takes no small ones: none, or nearest:factor=4."
    )
    timeout: float = Field(30.0, description="Seconds that a request may take.", gt=0, le=3600)
    patience: float = Field(
        600.0,
        description="Seconds for which a picture is sent again after timeouts, lost connections and throttling, "
        "before the run stops.",
        ge=0,
        le=1e6,
    )
    budget: float | None = Field(
        None, description="Dollars to spend at most, in all runs of --out together and after any restart.", gt=0
    )
    max_queries: int | None = Field(None, description="Pictures to send at most, in all runs of --out together.", ge=1)
    price_per_1000: float | None = Field(
        None, description="Dollars for 1,000 pictures. Default: the vendor's price list.", ge=0, lt=1e6
    )
    rate: str | None = Field(
        None, description="Pictures to send at most, such as 10/s or 1800/min. Default: the API's usual quota."
    )
    concurrency: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        None, description="Requests in flight in each replica. Default: that of the API."
    )
    offline: bool = Field(False, description="Send nothing: take all answers from the query log, or stop.")

    @model_validator(mode="after")
    def _refuse_odd_queries(self) -> "QuerySettings":
        classifier = getattr(self, "classifier", None)
        if classifier is None or not is_api(classifier):
            self._refuse_given(str(classifier))
            return self
        _ = read_label_rule(self.label_rule), self.pictures_per_second
        _ = read_encoding(self.encoding), read_upscale(self.upscale)
        if self.budget is not None and self.price_per_1000 == 0:
            raise RaysmoothError("--budget with --price-per-1000 0, which no number of pictures uses up: leave one out")
        return self

    def _refuse_given(self, classifier: str) -> None:
        """Raises RaysmoothError where anything about APIs is said, as the classifier is none."""
        for name, field in QuerySettings.model_fields.items():
            if getattr(self, name) != field.default:
                meant = nearest(classifier.partition(":")[0].strip(), VISION_APIS)
                raise RaysmoothError(
                    f"--{name.replace('_', '-')} is for vision APIs, and --classifier {printable(classifier)} names "
                    f"none: {meant}; or leave it out"
                )

    @property
    def pictures_per_second(self) -> float | None:
        """The `rate`; None if none is given."""
        return None if self.rate is None else read_rate(self.rate)
