"""A model behind the Open Inference Protocol, version 2, over REST: Triton, KServe, MLServer, OpenVINO and others.

It takes numbers, so that no picture is encoded and no level rounded: the pixels that are sent are those of f.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from raysmooth.actors.apis.answers import Answer, Picture, Tag
from raysmooth.actors.apis.connections import KeyVariable, read_address, read_key, written_endpoint
from raysmooth.actors.apis.failures import ApiFailure, BatchRefused, PictureRefused, Transient
from raysmooth.actors.apis.label_files import described_labels, read_class_names
from raysmooth.actors.apis.rest_client import Reply, RestClient
from raysmooth.common.errors import RaysmoothError, counted, one_line, printable
from raysmooth.common.limits import MOST_CLASSES
from raysmooth.common.settings import Options

BINARY_HEADER = "Inference-Header-Content-Length"
"""Bytes of the JSON in front of binary tensors."""

_Number: TypeAlias = Annotated[
    int | float | str, Field(description="a number, or one for each channel: 0.49/0.48/0.45")
]


@dataclass(frozen=True)
class InferenceOptions(Options):
    """`classes` or `labels` must be there: K cannot be asked for. The model is sent (pixels * scale - mean) / std."""

    model: str = Field(description="as the server calls it", examples=["resnet50"])
    version: Annotated[int | str | None, Field(description="of the model; the server's choice if left out")] = None
    input: Annotated[str, Field(description="name of the input tensor")] = "input"
    output: Annotated[str | None, Field(description="name of the output tensor; the first one if left out")] = None
    classes: Annotated[int | None, Field(ge=2, le=MOST_CLASSES)] = None
    labels: Annotated[str | None, Field(description="a file with the classes' names, one a line")] = None
    layout: Annotated[Literal["nchw", "nhwc"], Field(description="nchw or nhwc")] = "nchw"
    scale: float = 1.0
    mean: _Number = 0.0
    std: _Number = 1.0
    answer: Annotated[
        Literal["logits", "probabilities", "label"], Field(description="logits, probabilities or label")
    ] = "logits"
    keep: Annotated[int, Field(ge=1)] = 100
    """The best labels that an answer keeps."""
    batch: Annotated[int, Field(ge=1, le=1024)] = 1
    """Pictures in a request."""
    binary: bool = False
    """The extension for binary tensors, which Triton and others have: much faster for large pictures."""
    key_env: Annotated[KeyVariable | None, Field(description="environment variable with a token; none is sent")] = None
    plain_http: bool = False


def describe(options: InferenceOptions, endpoint: str | None) -> Mapping[str, Any]:
    labels = closed_labels(options)
    return {
        "api": "oip",
        "endpoint": written_endpoint("oip", endpoint, options.plain_http),
        "model": options.model,
        "version": None if options.version is None else str(options.version),
        "input": options.input,
        "output": options.output,
        **described_labels(labels),
        "layout": options.layout,
        "scale": options.scale,
        "mean": list(_constants("mean", options.mean)),
        "std": list(_constants("std", options.std)),
        "answer": options.answer,
        "keep": options.keep,
        "datatype": "FP32",
    }


def closed_labels(options: InferenceOptions) -> tuple[str, ...]:
    """The names of all classes. Raises RaysmoothError where nothing says how many there are."""
    if options.labels is None:
        if options.classes is None:
            raise RaysmoothError("oip: write classes=K or labels=FILE: the protocol does not say how many there are")
        return tuple(str(number) for number in range(options.classes))
    flag = f"oip:labels={printable(options.labels)}"
    labels = read_class_names(flag, options.labels)
    if options.classes not in (None, len(labels)):
        raise RaysmoothError(
            f"{flag} has {counted(len(labels), 'label')}, but classes={options.classes}: leave one out"
        )
    return labels


def check(options: InferenceOptions, endpoint: str | None) -> None:
    if endpoint is None:
        raise RaysmoothError("oip needs --endpoint https://HOST, of the server of the model")
    read_address("oip", endpoint, options.plain_http)
    if options.key_env is not None:
        read_key("oip", options.key_env)
    closed_labels(options)
    _constants("mean", options.mean)
    if not all(_constants("std", options.std)):
        raise RaysmoothError(f"oip:std={options.std} divides by 0: write numbers above 0")


def by_options(options: InferenceOptions) -> Mapping[str, Any]:
    return {"most_pictures": options.batch}


def _constants(name: str, written: int | float | str) -> tuple[float, ...]:
    """The numbers of each channel. Raises RaysmoothError for a text that has others than numbers."""
    try:
        numbers = tuple(float(part) for part in str(written).split("/"))
    except ValueError:
        numbers = ()
    if not numbers or not np.isfinite(numbers).all():
        raise RaysmoothError(
            f"oip:{name}={printable(str(written))}: write a number, or one for each channel: 0.5/0.5/0.5"
        )
    return numbers


class InferenceClient:
    """One request is one batch."""

    def __init__(self, options: InferenceOptions, endpoint: str | None) -> None:
        check(options, endpoint)
        self._options, self._labels = options, closed_labels(options)
        version = "" if options.version is None else f"/versions/{options.version}"
        base = written_endpoint("oip", endpoint, options.plain_http)
        self._model = f"{base}/v2/models/{options.model}{version}"
        key = None if options.key_env is None else read_key("oip", options.key_env)
        self._headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        self.secrets = () if key is None else (key,)
        # What numbers show offends no one: what is refused first is the request.
        self._client = RestClient("oip", doubts=1)
        self._mean = np.array(_constants("mean", options.mean), np.float32)
        self._std = np.array(_constants("std", options.std), np.float32)

    async def classify(self, pictures: Sequence[Picture]) -> list[Answer | PictureRefused]:
        body, headers = self._request(np.stack([self._input(picture.pixels) for picture in pictures]))
        billed = True
        try:
            reply = await self._client.send("POST", f"{self._model}/infer", body, {**self._headers, **headers})
            if reply.status != 200:
                billed = False
                raise self._client.failure(reply)
            answers = self._read(reply, len(pictures))
        except PictureRefused as refused:
            if len(pictures) > 1:
                raise BatchRefused(f"oip: {refused}", billed) from None
            return [refused]
        except ApiFailure as failure:
            raise ApiFailure(f"{failure}{await self._inputs()}", failure.billed) from None
        self._client.answered = True
        return answers

    async def close(self) -> None:
        await self._client.close()

    def _input(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels (C, H, W) as the model takes them. Raises ApiFailure for constants of another number of channels."""
        for name, constants in (("mean", self._mean), ("std", self._std)):
            if len(constants) not in (1, len(pixels)):
                raise ApiFailure(
                    f"oip:{name} has {counted(len(constants), 'number')}, and images have "
                    f"{counted(len(pixels), 'channel')}: write one number, or one for each"
                )
        scaled = pixels * np.float32(self._options.scale)
        scaled = (scaled - self._mean[:, None, None]) / self._std[:, None, None]
        return np.ascontiguousarray(scaled if self._options.layout == "nchw" else scaled.transpose(1, 2, 0), np.float32)

    def _request(self, batch: np.ndarray) -> tuple[bytes, dict[str, str]]:
        """Body and headers."""
        tensor: dict[str, Any] = {"name": self._options.input, "shape": list(batch.shape), "datatype": "FP32"}
        request: dict[str, Any] = {"inputs": [tensor]}
        if self._options.output is not None:
            request["outputs"] = [{"name": self._options.output}]
        if not self._options.binary:
            # float64 has each float32 exactly, and so has its text.
            tensor["data"] = batch.astype(np.float64).ravel().tolist()
            return json.dumps(request).encode(), {"Content-Type": "application/json"}
        tensor["parameters"] = {"binary_data_size": batch.nbytes}
        head = json.dumps(request).encode()
        little = batch.astype("<f4").tobytes()
        return head + little, {"Content-Type": "application/octet-stream", BINARY_HEADER: str(len(head))}

    def _read(self, reply: Reply, pictures: int) -> list[Answer | PictureRefused]:
        """The answers in a reply. Raises PictureRefused or ApiFailure for one of another form."""
        try:
            content = json.loads(reply.body)
            outputs = {output["name"]: output for output in content["outputs"]}
            output = outputs[self._options.output] if self._options.output else next(iter(outputs.values()))
            data = np.array(output["data"], object).reshape(pictures, -1)
        except (ValueError, KeyError, TypeError, StopIteration, RecursionError) as error:
            raise self._client.misfit(reply, f"not an answer: {one_line(error)}") from None
        version = content.get("model_version")
        facts = {name: content[name] for name in ("model_name", "model_version") if name in content}
        wanted = 1 if self._options.answer == "label" else len(self._labels)
        if data.shape[1] != wanted:
            raise ApiFailure(
                f"oip: {printable(self._options.model)} answers {counted(data.shape[1], 'number')} for a picture, and "
                f"not {wanted}: write classes=K or labels=FILE for the K that it has, or oip:answer=label",
                billed=True,
            )
        return [
            self._answer(row, None if version is None else str(version), json.dumps({**facts, "data": row}))
            for row in data.tolist()
        ]

    def _answer(self, row: list[Any], version: str | None, raw: str) -> Answer | PictureRefused:
        """What the numbers of one picture say."""
        if self._options.answer == "label":
            (written,) = row
            name = self._named(written)
            if name is None:
                return PictureRefused(f"the label {printable(str(written))} is none of the classes", raw, version)
            return Answer((Tag(name, 1.0),), version, raw)
        try:
            scores = np.array(row, np.float64)
        except (ValueError, TypeError):
            scores = np.array([np.nan])
        if not np.isfinite(scores).all():
            return PictureRefused("the answer has values that are no numbers", raw, version)
        if self._options.answer == "logits":
            scores = np.exp(scores - scores.max())
            scores /= scores.sum()
        first = np.argsort(-scores, kind="stable")[: self._options.keep]
        return Answer(tuple(Tag(self._labels[place], float(scores[place])) for place in first), version, raw)

    def _named(self, written: Any) -> str | None:
        """The name of a class that is given as its number, or as its name."""
        if isinstance(written, int | float) and float(written).is_integer() and 0 <= written < len(self._labels):
            return self._labels[int(written)]
        return written if isinstance(written, str) and written in self._labels else None

    async def _inputs(self) -> str:
        """What the server says of the model's tensors, for the end of a message; it costs nothing."""
        try:
            reply = await self._client.send("GET", self._model, None, self._headers)
            content = json.loads(reply.body)
            tensors = [
                f"{kind} {tensor['name']} ({tensor['datatype']} {tensor['shape']})"
                for kind in ("inputs", "outputs")
                for tensor in content[kind]
            ]
        except (Transient, PictureRefused, ValueError, KeyError, TypeError, RecursionError):
            return ""
        return f"; the model has {printable(', '.join(tensors))}"
