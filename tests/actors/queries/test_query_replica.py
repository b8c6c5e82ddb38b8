"""The replica that asks, in this process: what it sends for a draw, and what it reports."""

import asyncio
import io
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scripted_api import ScriptedApi, entry

from raysmooth.actors.apis.answers import Answer, Picture
from raysmooth.actors.apis.apis import VISION_APIS
from raysmooth.actors.apis.failures import ApiFailure, PictureRefused
from raysmooth.actors.models.denoisers import build_denoiser
from raysmooth.actors.models.weights import fingerprint, save_weights
from raysmooth.actors.noise.families import Gaussian, Uniform
from raysmooth.actors.noise.role import Role
from raysmooth.actors.queries.draw_key import DrawKey, array_digest, image_digest
from raysmooth.actors.queries.events import Answered, Event, Failed, GivenUp
from raysmooth.actors.queries.noise import noise_of
from raysmooth.actors.queries.query_replica import QueryReplica
from raysmooth.actors.queries.query_spec import QuerySpec
from raysmooth.actors.queries.rate_bucket import RateBucket
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.variant import Variant

IMAGE = np.random.default_rng(0).uniform(0, 1, (1, 6, 5)).astype(np.float32)
DIGEST = image_digest(IMAGE)
SPEC = QuerySpec("scripted", None, Gaussian(0.25), seed=3, concurrency=2)


class Keeping(ScriptedApi):
    """Keeps the pictures that it is sent."""

    def __init__(self, latency: float = 0.0) -> None:
        super().__init__(latency=latency)
        self.pictures: list[Picture] = []

    async def classify(self, pictures: Sequence[Picture]) -> list[Answer | PictureRefused]:
        self.pictures += pictures
        return await super().classify(pictures)


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Keeping]]:
    """Makes `scripted` an API with these facts; returns its client."""

    def make(latency: float = 0.0, **facts: Any) -> Keeping:
        api = Keeping(latency)
        entries = {**VISION_APIS, "scripted": entry(lambda: api, **facts)}
        monkeypatch.setattr(VISION_APIS, "_entries", entries)
        return api

    return make


def keys(*draws: int, role: Role = Role.ESTIMATION) -> list[DrawKey]:
    return [DrawKey(DIGEST, role, draw) for draw in draws]


def ask(specs: Sequence[QuerySpec], *asks: tuple[int, Sequence[DrawKey]], image: np.ndarray = IMAGE) -> list[Event]:
    """The events of these calls of a replica, one call after the other."""

    async def whole(replica: QueryReplica) -> list[Event]:
        await replica.prepare(specs)
        events = [event for run, wanted in asks async for event in replica.ask(run, image, wanted)]
        await replica.close()
        return events

    return run(whole)


def run(act: Callable[[QueryReplica], Coroutine[Any, Any, list[Event]]]) -> list[Event]:
    async def made() -> list[Event]:
        return await act(QueryReplica("cpu", 1, RateBucket(None)))

    return asyncio.run(made())


def quantized(pixels: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(pixels, 0, 1) * np.float32(255)).astype(np.uint8).transpose(1, 2, 0)


def test_what_is_sent_is_image_and_noise_quantized(register: Callable[..., Keeping]) -> None:
    api = register()
    events = ask([SPEC], (0, keys(*range(11))))
    expected = {key: quantized(IMAGE + noise_of(key, 3, Gaussian(0.25), IMAGE.shape)) for key in keys(*range(11))}
    sent = {array_digest(picture.pixels): picture for picture in api.pictures}
    assert len(sent) == len(events) == 11
    for event in events:
        assert isinstance(event, Answered)
        assert event.pixels == array_digest(expected[event.key])
        file = sent[event.pixels].encoded
        assert file is not None
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(file))), expected[event.key][:, :, 0])
        assert event.picture_bytes == len(file)
    assert {event.key for event in events if isinstance(event, Answered)} == set(expected)


def test_runs_differ_in_noise_and_upscale(register: Callable[..., Keeping]) -> None:
    api = register()
    other = QuerySpec("scripted", None, Uniform(0.1), seed=4, upscale="nearest:factor=3", encoding="jpeg")
    ask([SPEC, other], (1, keys(5)), (0, keys(5)))
    enlarged = quantized(IMAGE + noise_of(keys(5)[0], 4, Uniform(0.1), IMAGE.shape)).repeat(3, 0).repeat(3, 1)
    assert np.array_equal(api.pictures[0].pixels, enlarged)
    assert api.pictures[0].media_type == "image/jpeg"
    assert api.pictures[1].pixels.shape == (6, 5, 1)


def test_numbers_are_sent_as_they_are(register: Callable[..., Keeping]) -> None:
    api = register(takes_numbers=True)
    ask([SPEC], (0, keys(0)))
    expected = np.clip(IMAGE + noise_of(keys(0)[0], 3, Gaussian(0.25), IMAGE.shape), 0, 1)
    assert np.array_equal(api.pictures[0].pixels, expected)


@pytest.fixture
def denoised_spec(tmp_path: Path) -> tuple[QuerySpec, torch.nn.Module]:
    torch.manual_seed(0)
    name = "dncnn:channels=1,depth=3,width=4"
    network = build_denoiser(Variant.parse(name)).eval()
    save_weights(tmp_path / "denoiser.safetensors", network, {"architecture": name})
    return QuerySpec(
        "scripted",
        None,
        Gaussian(0.25),
        seed=3,
        denoiser="dncnn",
        denoiser_weights=str(tmp_path / "denoiser.safetensors"),
        denoiser_fingerprint=fingerprint(network),
    ), network


def test_noise_goes_unclipped_through_the_denoiser_but_a_reference_is_the_image(
    register: Callable[..., Keeping], denoised_spec: tuple[QuerySpec, torch.nn.Module]
) -> None:
    spec, network = denoised_spec
    register()
    reference = keys(0, role=Role.REFERENCE)
    events = ask([spec], (0, [*reference, *keys(*range(9))]))
    noisy = np.stack([IMAGE + noise_of(key, 3, Gaussian(0.25), IMAGE.shape) for key in keys(*range(9))])
    with torch.inference_mode():
        denoised = network(torch.from_numpy(noisy)).numpy()
    by_key = {event.key: event.pixels for event in events if isinstance(event, Answered)}
    assert by_key[reference[0]] == array_digest(quantized(IMAGE))
    for key, pixels in zip(keys(*range(9)), denoised, strict=True):
        assert by_key[key] == array_digest(quantized(pixels))  # whatever the batch it was denoised in


def test_a_denoised_picture_does_not_depend_on_its_neighbours(
    register: Callable[..., Keeping], denoised_spec: tuple[QuerySpec, torch.nn.Module]
) -> None:
    register()
    alone, among = (ask([denoised_spec[0]], (0, keys(*draws))) for draws in ((7,), range(12)))
    digests = [
        {event.key: event.pixels for event in events if isinstance(event, Answered)} for events in (alone, among)
    ]
    assert digests[0][keys(7)[0]] == digests[1][keys(7)[0]]


def test_other_weights_are_refused(
    register: Callable[..., Keeping], denoised_spec: tuple[QuerySpec, torch.nn.Module]
) -> None:
    register()
    spec = QuerySpec(**{**denoised_spec[0].__dict__, "denoiser_fingerprint": "0" * 64})
    with pytest.raises(RaysmoothError, match="not those that this run began with"):
        ask([spec], (0, keys(0)))


def test_a_missing_credential_names_the_machine(register: Callable[..., Keeping]) -> None:
    def check() -> None:
        raise ApiFailure("set SCRIPTED_KEY")

    register(check=check)
    with pytest.raises(
        RaysmoothError, match=r"set SCRIPTED_KEY \(a replica on .* environment in which Ray was started"
    ):
        ask([SPEC], (0, keys(0)))


def test_a_picture_that_is_too_large_is_not_sent_and_costs_nothing(register: Callable[..., Keeping]) -> None:
    api = register(most_bytes=20)
    (event,) = ask([SPEC], (0, keys(0)))
    assert isinstance(event, Answered)
    assert event.attempts == 0
    assert "above the API's limit of 20" in str(event.refused)
    assert not api.pictures


def test_pixels_that_are_not_numbers_are_not_sent(register: Callable[..., Keeping]) -> None:
    api = register()
    image = IMAGE.copy()
    image[0, 0, 0] = np.nan
    (event,) = ask([SPEC], (0, keys(0)), image=image)
    assert isinstance(event, Answered)
    assert (event.attempts, event.refused) == (0, "its pixels are not numbers")
    assert not api.pictures


def test_a_picture_that_cannot_be_made_ends_the_run(register: Callable[..., Keeping]) -> None:
    register()
    events = ask([SPEC], (0, keys(0, 1, 2)), image=np.zeros((2, 4, 4), np.float32))  # no image file has two channels
    assert isinstance(events[0], Failed)
    assert "no picture could be made: KeyError" in events[0].reason
    assert [event.key for event in events[1:] if isinstance(event, GivenUp)] == keys(0, 1, 2)


def test_few_pictures_wait_in_memory(register: Callable[..., Keeping], monkeypatch: pytest.MonkeyPatch) -> None:
    api = register(latency=0.003)
    made = 0
    most = 0

    def counting(pixels: np.ndarray, run: Any) -> Any:
        nonlocal made, most
        made += 1
        most = max(most, made - len(api.requests) + api.in_flight)
        return original(pixels, run)

    from raysmooth.actors.queries import query_replica

    original = query_replica._made
    monkeypatch.setattr(query_replica, "_made", counting)
    events = ask([SPEC], (0, keys(*range(60))))
    assert len(events) == 60
    assert 2 <= most <= 2 * SPEC.concurrency + 8


def test_drained_what_is_in_flight_is_answered_and_all_else_given_up(register: Callable[..., Keeping]) -> None:
    api = register(latency=0.05)

    async def act(replica: QueryReplica) -> list[Event]:
        await replica.prepare([SPEC])
        events = []
        async for event in _asked(replica, keys(*range(30))):
            events.append(event)
            await replica.drain()
        await replica.close()
        return events

    events = run(act)
    answered = [event for event in events if isinstance(event, Answered)]
    assert len(events) == 30
    assert 1 <= len(answered) == len(api.requests) <= 2 * SPEC.concurrency
    assert not any(event.billed for event in events if isinstance(event, GivenUp))


def _asked(replica: QueryReplica, wanted: Sequence[DrawKey]) -> Any:
    return replica.ask(0, IMAGE, wanted)
