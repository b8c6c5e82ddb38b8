"""How a black box behind HTTP is asked and read: the file of http:request=FILE."""

import base64
import json
import math
import re
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from raysmooth.actors.apis.answers import RESERVED, Picture, Tag
from raysmooth.actors.apis.connections import read_key
from raysmooth.common.errors import printable
from raysmooth.common.hashing import settings_hash
from raysmooth.common.late_imports import LateModule
from raysmooth.common.settings import Settings

jmespath = LateModule("jmespath")

IMAGE = "image"
"""The body that is the image file itself."""

_BASE64, _MEDIA_TYPE = "{image_base64}", "{media_type}"
_VARIABLE = re.compile(r"\$\{([A-Z][A-Z0-9_]{0,63})\}")


class Unreadable(Exception):
    """An answer that holds no labels where the file says that they are."""


class HttpRequest(Settings):
    """Keys of a request's file. Paths into answers are JMESPath."""

    KEYS_ONLY: ClassVar[bool] = True

    method: Literal["POST", "PUT"] = Field("POST", description="POST or PUT.")
    body: Any = Field(
        IMAGE,
        description='"image" for the bytes of the image file, or JSON with {image_base64}, and {media_type} if needed.',
    )
    headers: dict[str, str] = Field({}, description="Headers; ${NAME} stands for an environment variable.")
    query: dict[str, str] = Field({}, description="What comes after ? in the URL; ${NAME} as in headers.")
    labels: str | None = Field(None, description="Path to one label, or to labels, the best first.")
    scores: str | None = Field(None, description="Path to their scores; without labels, to one for each class.")
    label_scores: str | None = Field(None, description="Path to a mapping of labels to scores, instead of both.")
    version: str | None = Field(None, description="Path to the model's version.")
    classes: list[str] | None = Field(None, description="All labels, where no others can come.")
    throttled: list[int] = Field([429], description="Statuses that mean: too many requests, not billed.")
    refused: list[int] = Field([], description="Statuses that mean: this picture will never have an answer.")

    @field_validator("labels", "scores", "label_scores", "version")
    @classmethod
    def _is_path(cls, path: str | None) -> str | None:
        from jmespath.exceptions import JMESPathError

        try:
            jmespath.compile(path) if path is not None else None
        except (JMESPathError, RecursionError) as error:
            raise ValueError(f"a JMESPath, such as labels[*].name ({str(error).splitlines()[0]})") from None
        return path

    @field_validator("body")
    @classmethod
    def _holds_the_image(cls, body: Any) -> Any:
        if body != IMAGE and _BASE64 not in json.dumps(body, ensure_ascii=False, default=str):
            raise ValueError(f'"{IMAGE}", or JSON with {_BASE64} where the picture belongs')
        return body

    @field_validator("classes")
    @classmethod
    def _are_classes(cls, classes: list[str] | None) -> list[str] | None:
        if classes is not None and (len(classes) < 2 or len(set(classes)) < len(classes)):
            raise ValueError("two labels or more, each once")
        if classes is not None and (reserved := set(classes) & set(RESERVED)):
            raise ValueError(f"labels other than {min(reserved)}, which has a meaning of its own here")
        return classes

    @model_validator(mode="after")
    def _says_where_labels_are(self) -> "HttpRequest":
        if self.label_scores is not None and (self.labels, self.scores) != (None, None):
            raise ValueError("label_scores alone, or labels and scores")
        if self.label_scores is None and self.labels is None and (self.scores is None or self.classes is None):
            raise ValueError("labels, or label_scores, or scores and classes: paths into the answer")
        return self

    @property
    def identity(self) -> str:
        """SHA-256 of all that decides answers: not the names of variables, nor which statuses mean what."""
        facts = self.model_dump(mode="json", exclude={"version", "throttled", "refused"})
        for where in ("headers", "query"):
            facts[where] = {name: _VARIABLE.sub("${}", text) for name, text in facts[where].items()}
        return settings_hash(facts)

    @property
    def variables(self) -> list[str]:
        """The environment variables that it needs."""
        return sorted(
            {name for text in (*self.headers.values(), *self.query.values()) for name in _VARIABLE.findall(text)}
        )

    def filled(self, texts: Mapping[str, str]) -> dict[str, str]:
        """Headers or a query with the variables' values. Raises RaysmoothError for one that is not set."""
        return {name: _VARIABLE.sub(lambda found: read_key("http", found[1]), text) for name, text in texts.items()}

    def content(self, picture: Picture) -> tuple[bytes, str]:
        """The body for a picture, and its media type."""
        if self.body == IMAGE:
            return picture.encoded or b"", picture.media_type or "application/octet-stream"
        texts = {_BASE64: base64.b64encode(picture.encoded or b"").decode(), _MEDIA_TYPE: picture.media_type or ""}
        return json.dumps(_with(self.body, texts)).encode(), "application/json"

    def tags(self, answer: Any) -> tuple[Tag, ...]:
        """The labels in an answer. Raises Unreadable where there are none, or where they are no labels and scores."""
        if self.label_scores is not None:
            found = _found(self.label_scores, answer)
            if not isinstance(found, dict):
                raise Unreadable(f"label_scores finds {_shown(found)}, no mapping of labels to scores")
            names, scores = list(found), list(found.values())
        elif self.labels is None:
            scores = _listed(_found(self.scores, answer))
            names = self.classes or []
        else:
            names = _listed(_found(self.labels, answer))
            # Without scores the order is all there is: 1, 1/2, 1/3, ...
            ranks = [1 / place for place in range(1, len(names) + 1)]
            scores = ranks if self.scores is None else _listed(_found(self.scores, answer))
        if len(names) != len(scores):
            raise Unreadable(f"there are {len(names)} labels and {len(scores)} scores")
        known = None if self.classes is None else set(self.classes)
        return tuple(_tag(name, score, known) for name, score in zip(names, scores, strict=True))

    def version_of(self, answer: Any) -> str | None:
        """The version of the model, if the file says where it is."""
        found = None if self.version is None else jmespath.search(self.version, answer)
        return None if found is None else str(found)


def _tag(name: Any, score: Any, known: set[str] | None) -> Tag:
    """Raises Unreadable for what is no label, no score, or none of the labels known."""
    if isinstance(name, bool) or not isinstance(name, str | int):
        raise Unreadable(f"{_shown(name)} is no label")
    if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
        raise Unreadable(f"{_shown(score)} is no score")
    if known is not None and str(name) not in known:
        raise Unreadable(f"{_shown(name)} is none of the classes")
    return Tag(str(name), float(score))


def _found(path: str | None, answer: Any) -> Any:
    found = jmespath.search(path, answer)
    if found is None:
        raise Unreadable(f"{path} finds nothing")
    return found


def _listed(found: Any) -> list[Any]:
    return found if isinstance(found, list) else [found]


def _shown(value: Any) -> str:
    return printable(json.dumps(value, ensure_ascii=False, default=str))


def _with(template: Any, texts: Mapping[str, str]) -> Any:
    """A template with its placeholders filled in, at any depth."""
    if isinstance(template, str):
        for placeholder, text in texts.items():
            template = template.replace(placeholder, text)
        return template
    if isinstance(template, list):
        return [_with(one, texts) for one in template]
    return {name: _with(one, texts) for name, one in template.items()} if isinstance(template, dict) else template
