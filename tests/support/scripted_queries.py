"""Runs that ask the scripted API in replicas of a real Ray, and what must come out, computed here."""

import os
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
from kept_replicas import BriefReplica
from pydantic import Field
from pydantic.dataclasses import dataclass
from scripted_api import ScriptedApi, tag_of

from raysmooth.actors.apis.answers import Answer, Picture
from raysmooth.actors.apis.apis import VISION_APIS
from raysmooth.actors.apis.failures import ApiFailure, PictureRefused, Throttled, Transient
from raysmooth.actors.apis.vision_api import ApiEntry
from raysmooth.actors.noise.families import Gaussian
from raysmooth.actors.noise.role import Role
from raysmooth.actors.queries.draw_key import DrawKey, array_digest, image_digest
from raysmooth.actors.queries.noise import noise_of
from raysmooth.actors.queries.pictures import picture, read_encoding, read_upscale
from raysmooth.actors.queries.query_spec import QuerySpec
from raysmooth.actors.queries.rate_bucket import Bucket
from raysmooth.actors.replica.work_unit import Block, UnitCounts, WorkUnit
from raysmooth.common.settings import Options
from raysmooth.pipeline.pool.replica_resources import ReplicaResources
from raysmooth.pipeline.pool.tasks import UnitRequest, UnitResult
from raysmooth.pipeline.queries.budget import Budget
from raysmooth.pipeline.queries.charges import Charges
from raysmooth.pipeline.queries.identity import QueryIdentity
from raysmooth.pipeline.queries.logged_answer import LoggedAnswer
from raysmooth.pipeline.queries.query_log import QueryLog, folder_name
from raysmooth.pipeline.query_pool.query_pool import QueryPool
from raysmooth.pipeline.query_pool.query_task import QueryTask
from raysmooth.storage.location import located

CODES = {"dark": 0, "grey": 1, "bright": 2}
REFUSED = 5
NUM_LABELS = 6
BLOCK = 10
PRICE = 0.01

Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True)
class Conduct(Options):
    """Shares of requests, at random; `refuse`: of pictures, by their digests; the others are numbers of the bill."""

    throttle: Share = 0.0
    reset: Share = 0.0
    unavailable: Share = 0.0
    refuse: Share = 0.0
    latency: float = 0.0
    change_after: int = 0
    fail_after: int = 0
    at_random: bool = False


class BillingApi(ScriptedApi):
    """Bills each picture as a line of the file `endpoint`/bill."""

    def __init__(self, conduct: Conduct, endpoint: str) -> None:
        super().__init__(latency=conduct.latency)
        self.conduct, self.bill = conduct, Path(endpoint) / "bill"

    async def classify(self, pictures: Sequence[Picture]) -> list[Answer | PictureRefused]:
        chance, conduct = random.random(), self.conduct
        if chance < conduct.throttle:
            raise Throttled("scripted throttling", retry_after=0.0)
        if chance < conduct.throttle + conduct.unavailable:
            raise Transient("scripted error", billed=False)
        if conduct.fail_after and billed(self.bill.parent) >= conduct.fail_after:
            raise ApiFailure("scripted: the account is exhausted")
        with self.bill.open("a") as file:
            file.write("".join(f"{array_digest(picture.pixels)}\n" for picture in pictures))
        answers = await super().classify(pictures)
        if chance > 1 - conduct.reset:
            raise Transient("scripted reset")
        return [self.answer(picture, answer) for picture, answer in zip(pictures, answers, strict=True)]

    def answer(self, picture: Picture, answer: Answer | PictureRefused) -> Answer | PictureRefused:
        if is_refused(picture.pixels, self.conduct.refuse):
            return PictureRefused("scripted: not a fit picture")
        assert isinstance(answer, Answer)
        if self.conduct.change_after and billed(self.bill.parent) > self.conduct.change_after:
            return Answer(answer.tags, version="2")
        if self.conduct.at_random:
            return Answer(tag_of(Picture(np.full((1, 1, 1), random.choice([0, 128, 255]), np.uint8))).tags, "1")
        return answer


def is_refused(pixels: np.ndarray, share: float) -> bool:
    return int(array_digest(pixels)[:8], 16) < share * 2**32


def billed(folder: Path) -> int:
    """Pictures on the bill."""
    bill = folder / "bill"
    return len(bill.read_text().splitlines()) if bill.exists() else 0


ENTRY = ApiEntry(
    "scripted",
    Conduct,
    lambda options, endpoint: BillingApi(options, str(endpoint)),
    lambda options, endpoint: None,
    lambda options, endpoint: {"api": "scripted"},
)


class ScriptedQueryReplica(BriefReplica):
    """Knows the API `scripted`."""

    def __init__(self, device: str, threads: int, bucket: Bucket) -> None:
        VISION_APIS._entries = {**VISION_APIS, "scripted": ENTRY}
        random.seed(os.urandom(8))
        super().__init__(device, threads, bucket)


def images(number: int, seed: int = 0) -> dict[int, np.ndarray]:
    """Images by their ids, of all brightnesses."""
    generator = np.random.default_rng(seed)
    return {
        image_id: np.clip(generator.uniform(0.2, 0.8) + generator.normal(0, 0.05, (1, 4, 4)), 0, 1).astype(np.float32)
        for image_id in range(number)
    }


def requests(
    pictures: dict[int, np.ndarray], draws: int = 25, role: Role = Role.ESTIMATION, run: int = 0
) -> list[UnitRequest]:
    """A unit an image, in blocks of 10 draws."""
    found = []
    for image_id, image in pictures.items():
        sizes = [min(BLOCK, draws - first) for first in range(0, draws, BLOCK)]
        blocks = tuple(Block(image_id, index, size) for index, size in enumerate(sizes))
        found.append(UnitRequest(WorkUnit(run, role, blocks), {image_id: image}))
    return found


def spec(folder: Path, conduct: str = "", sigma: float = 0.5, **options: Any) -> QuerySpec:
    return QuerySpec(f"scripted:{conduct}" if conduct else "scripted", str(folder), Gaussian(sigma), 3, **options)


def expected(request: UnitRequest, asked: QuerySpec, refuse: float = 0.0) -> np.ndarray:
    """The counts of a unit."""
    counts = np.zeros((len(request.unit.blocks), NUM_LABELS), np.int64)
    for place, block in enumerate(request.unit.blocks):
        image = request.images[block.image_id]
        for draw in range(block.index * BLOCK, block.index * BLOCK + block.draws):
            key = DrawKey(image_digest(image), request.unit.role, draw)
            noisy = image + noise_of(key, asked.seed, asked.noise, image.shape)
            sent = picture(noisy, read_encoding("png"), read_upscale("none"))
            code = REFUSED if is_refused(sent.pixels, refuse) else CODES[tag_of(sent).tags[0].name]
            counts[place, code] += 1
    return counts


def codes(answers: Sequence[LoggedAnswer]) -> list[int]:
    return [REFUSED if answer.refused is not None else CODES[answer.tags[0].name] for answer in answers]


@contextmanager
def task(out: Path, asked: QuerySpec, reference: bool = False) -> Iterator[QueryTask]:
    """A run with its logs below `out`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(VISION_APIS, "_entries", {**VISION_APIS, "scripted": ENTRY})
        identities = [QueryIdentity.of(asked), QueryIdentity.of_reference(asked)]
        logs = [QueryLog(located(out / "queries" / folder_name(one.id)), one) for one in identities[: 1 + reference]]
        try:
            yield QueryTask(asked, logs[0], logs[1] if reference else None, codes, NUM_LABELS, BLOCK)
        finally:
            for log in logs:
                log.close()


def spent(*tasks: QueryTask) -> Charges:
    """What all logs of the tasks have cost."""
    logs = {id(log): log for one in tasks for log in (one.log, one.reference_log) if log is not None}
    return sum((log.charges for log in logs.values()), Charges())


@contextmanager
def pool(
    tasks: Sequence[QueryTask],
    replicas: int = 1,
    rate: float | None = None,
    max_queries: int | None = None,
    notes: list[str] | None = None,
    **options: Any,
) -> Iterator[QueryPool]:
    budget = Budget(spent(*tasks), PRICE, None, max_queries)
    note = notes.append if notes is not None else lambda _: None
    with QueryPool(
        tasks,
        lambda: (replicas, ReplicaResources(0, 0.0)),
        rate,
        budget,
        note,
        actor=ScriptedQueryReplica,
        **options,
    ) as opened:
        yield opened


def draw(
    opened: QueryPool,
    wanted: Iterable[UnitRequest],
    each: Callable[[UnitResult], None] = lambda _: None,
    is_wanted: Callable[[WorkUnit], bool] = lambda _: True,
) -> list[UnitResult]:
    """The results of all requests, in the order in which they come; `each` is called with every one."""
    waiting = iter(wanted)
    results = []
    for result in opened.draw(lambda: next(waiting, None), is_wanted, lambda: 7):
        results.append(result)
        each(result)
    return results


def counts(result: UnitResult) -> np.ndarray:
    assert isinstance(result.drawn, UnitCounts)
    return result.drawn.counts
