"""The replica that asks: a Ray actor that makes pictures and sends them, with no more than a few of them in memory."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from time import perf_counter, time
from typing import Any, TypeVar

import numpy as np

from raysmooth.actors.apis.answers import Picture
from raysmooth.actors.apis.apis import read_api
from raysmooth.actors.apis.failures import PictureRefused
from raysmooth.actors.apis.vision_api import ApiEntry
from raysmooth.actors.noise.role import Role
from raysmooth.actors.queries.denoising import TOGETHER, Denoising, load_denoising
from raysmooth.actors.queries.draw_key import DrawKey, array_digest
from raysmooth.actors.queries.events import Answered, Event, Failed, GivenUp
from raysmooth.actors.queries.noise import noise_of
from raysmooth.actors.queries.pictures import Encoding, Upscale, picture, read_encoding, read_upscale
from raysmooth.actors.queries.query_spec import QuerySpec
from raysmooth.actors.queries.rate_bucket import Bucket
from raysmooth.actors.queries.sender import Query, Sender, SendingLimits, answered
from raysmooth.common.errors import RaysmoothError, one_line

Made = TypeVar("Made")


@dataclass(frozen=True)
class ReplicaPlace:
    """Where a replica runs, for people who look for the process."""

    node: str
    pid: int


@dataclass(eq=False)
class PreparedRun:
    """What the queries of a run are made with. `held`: pictures that may be in memory."""

    spec: QuerySpec
    entry: ApiEntry
    encoding: Encoding
    upscale: Upscale
    denoising: Denoising | None
    sender: Sender
    held: asyncio.Semaphore


class QueryReplica:
    """One process; an async actor, all of whose methods share one event loop. Noise, denoiser and files are made in
    threads beside it. `device`: of the denoiser; `threads`: CPU cores that it may use.
    """

    def __init__(self, device: str, threads: int, bucket: Bucket) -> None:
        self._device, self._cores, self._bucket = device, threads, bucket
        self._threads = ThreadPoolExecutor(threads, "raysmooth: pictures")
        self._denoiser_thread = ThreadPoolExecutor(1, "raysmooth: denoiser")
        self._runs: list[PreparedRun] = []

    async def place(self) -> ReplicaPlace:
        return ReplicaPlace(os.uname().nodename, os.getpid())

    async def prepare(self, specs: Sequence[QuerySpec]) -> ReplicaPlace:
        """Make the clients and load the denoisers of runs. Raises RaysmoothError, which names the machine, where an
        SDK, a credential or weights are missing there.
        """
        await self.close()
        senders: dict[tuple[object, ...], tuple[Sender, asyncio.Semaphore]] = {}
        denoisings: dict[tuple[object, ...], Denoising | None] = {}
        for spec in specs:
            _, entry, options = read_api(spec.api, spec.import_path)
            network = (spec.denoiser, spec.denoiser_weights, spec.denoiser_fingerprint, spec.import_path)
            if network not in denoisings:
                denoisings[network] = await self._in(self._denoiser_thread, partial(self._load, spec))
            limits = SendingLimits(spec.concurrency, entry.most_pictures, spec.timeout, spec.patience)
            if (spec.api, spec.endpoint, limits) not in senders:
                _check(entry, options, spec.endpoint)
                senders[spec.api, spec.endpoint, limits] = (
                    Sender(entry.make(options, spec.endpoint), limits, self._bucket),
                    asyncio.Semaphore(2 * spec.concurrency + TOGETHER),
                )
            sender, held = senders[spec.api, spec.endpoint, limits]
            encoding, upscale = read_encoding(spec.encoding), read_upscale(spec.upscale)
            self._runs.append(PreparedRun(spec, entry, encoding, upscale, denoisings[network], sender, held))
        return await self.place()

    async def ask(self, run: int, image: np.ndarray, keys: Sequence[DrawKey]) -> AsyncIterator[Event]:
        """Ask for the draws `keys` of one image, float32 (C, H, W), pixel units, in a prepared run; events as they
        happen, until every draw has its last one.
        """
        events: asyncio.Queue[Event] = asyncio.Queue()
        making = asyncio.create_task(self._submit(run, image, keys, events.put_nowait))
        left = len(keys)
        try:
            while left:
                event = await events.get()
                if isinstance(event, Answered | GivenUp):
                    left -= 1
                yield event
        finally:
            making.cancel()

    async def permit(self, run: int, key: DrawKey, granted: bool) -> None:
        """The answer to a `PermitWanted` of a run: whether the picture may be sent once more."""
        self._runs[run].sender.permit(run, key, granted)

    async def drain(self) -> None:
        """Send nothing more: requests in flight may be answered, all other draws are given up."""
        for run in self._runs:
            run.sender.stop()

    async def close(self) -> None:
        """End all connections."""
        for sender in {id(run.sender): run.sender for run in self._runs}.values():
            await sender.close()
        self._runs.clear()

    async def _submit(
        self, number: int, image: np.ndarray, keys: Sequence[DrawKey], report: Callable[[Event], None]
    ) -> None:
        """Make the pictures of `keys`, in order, and hand them to the sender, as fast as others leave the memory."""
        run, submitted = self._runs[number], 0
        try:
            for start in range(0, len(keys), TOGETHER):
                if run.sender.stopped:
                    for key in keys[start:]:
                        run.sender.refuse(key, report)
                    return
                part = keys[start : start + TOGETHER]
                began = perf_counter()
                threads = self._threads if run.denoising is None else self._denoiser_thread
                inputs = await self._in(threads, partial(_inputs, run, image, part))
                each = (perf_counter() - began) / len(part)
                for key, pixels in zip(part, inputs, strict=True):
                    await run.held.acquire()
                    await self._submit_one(number, key, pixels, each, _releasing(run.held, report))
                    submitted += 1
        except Exception as error:  # of the denoiser, or of memory: no other draw would fare better
            reason = f"no picture could be made: {type(error).__name__}: {one_line(error)}"
            report(Failed(reason))
            for key in keys[submitted:]:
                report(GivenUp(key, reason))

    async def _submit_one(
        self, number: int, key: DrawKey, pixels: np.ndarray, seconds: float, report: Callable[[Event], None]
    ) -> None:
        run, began = self._runs[number], perf_counter()
        try:
            made, digest = await self._in(self._threads, partial(_made, pixels, run))
        except ValueError as error:
            report(Answered(key, (), str(error), None, "{}", 0, time(), time(), array_digest(pixels), 0, seconds))
            return
        query = Query(number, key, made, digest, report, seconds + perf_counter() - began)
        size, most = len(made.encoded or b""), run.entry.most_bytes
        if most is not None and size > most:
            reason = f"its file of {size:,} bytes is above the API's limit of {most:,}: write another --encoding"
            report(answered(query, PictureRefused(reason), time()))
            return
        run.sender.submit(query)

    def _load(self, spec: QuerySpec) -> Denoising | None:
        loaded = load_denoising(spec, self._device)
        if loaded is not None:
            import torch

            torch.set_num_threads(self._cores)
        return loaded

    @staticmethod
    async def _in(threads: ThreadPoolExecutor, make: Callable[[], Made]) -> Made:
        return await asyncio.get_running_loop().run_in_executor(threads, make)


def _check(entry: ApiEntry, options: Any, endpoint: str | None) -> None:
    try:
        entry.check(options, endpoint)
    except RaysmoothError as error:
        where = f"a replica on {os.uname().nodename}, which has the environment in which Ray was started there"
        raise RaysmoothError(f"{error} ({where})") from None


def _inputs(run: PreparedRun, image: np.ndarray, keys: Sequence[DrawKey]) -> list[np.ndarray]:
    """The pixels behind the denoiser, of each draw; of a reference, the image's own."""
    spec = run.spec
    pixels = [
        image if key.role is Role.REFERENCE else image + noise_of(key, spec.seed, spec.noise, image.shape)
        for key in keys
    ]
    places = [place for place, key in enumerate(keys) if key.role is not Role.REFERENCE]
    if run.denoising is not None and places:
        denoised = run.denoising(np.stack([pixels[place] for place in places]))
        for place, one in zip(places, denoised, strict=True):
            pixels[place] = one
    return pixels


def _made(pixels: np.ndarray, run: PreparedRun) -> tuple[Picture, str]:
    made = picture(pixels, run.encoding, run.upscale, run.entry.takes_numbers)
    return made, array_digest(made.pixels)


def _releasing(held: asyncio.Semaphore, report: Callable[[Event], None]) -> Callable[[Event], None]:
    """`report`, which frees a picture's memory with its last event."""

    def reported(event: Event) -> None:
        if isinstance(event, Answered | GivenUp):
            held.release()
        report(event)

    return reported
