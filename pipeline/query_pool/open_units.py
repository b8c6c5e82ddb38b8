"""Units that are asked for and not delivered, in the order of their requests, and the draws that they lack."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from raysmooth.actors.noise.role import Role
from raysmooth.actors.queries.draw_key import DrawKey, image_digest
from raysmooth.actors.replica.work_unit import UnitCounts, WorkUnit
from raysmooth.pipeline.pool.tasks import UnitRequest, UnitResult
from raysmooth.pipeline.queries.query_log import QueryLog
from raysmooth.pipeline.query_pool.query_task import QueryTask

WHOLE = 2**31 - 1
"""`micro_batch` of counts: the memory of a device is never too small for a draw here."""

DrawName = tuple[int, DrawKey]
"""A draw in a log: the log's `id()`, and the key."""


@dataclass(eq=False)
class OpenUnit:
    """`keys`: of its blocks' draws, in their order. `lacks`: draws without a logged answer, references included."""

    request: UnitRequest
    task: QueryTask
    keys: list[list[DrawKey]]
    lacks: set[DrawName] = field(default_factory=set)
    dropped: bool = False

    @property
    def unit(self) -> WorkUnit:
        return self.request.unit

    def result(self) -> UnitResult:
        """Its counts, as all answers are in the log."""
        counts = np.zeros((len(self.keys), self.task.num_labels), np.int64)
        seconds = 0.0
        for place, keys in enumerate(self.keys):
            answers = [answer for key in keys if (answer := self.task.log.answer(key)) is not None]
            assert len(answers) == len(keys), "an answer has left the log"
            codes = np.asarray(self.task.draw_codes(answers), np.int64)
            counts[place] = np.bincount(codes, minlength=self.task.num_labels)
            seconds += sum(answer.seconds for answer in answers)
        return UnitResult(self.request, UnitCounts(counts, np.zeros(len(self.keys), np.int64), seconds, WHOLE))


@dataclass(eq=False)
class OpenDraw:
    """A draw that has no answer, and the units that wait for it. `reserved`: the budget holds money for its request.
    `foreign`: the answer that came is of another version of the model, and completes no unit.
    """

    log: QueryLog
    key: DrawKey
    run: int
    image_id: int
    image: np.ndarray
    units: list[OpenUnit]
    reserved: bool = False
    foreign: bool = False

    @property
    def name(self) -> DrawName:
        return id(self.log), self.key


class OpenUnits:
    """All of them, for the runs `tasks`."""

    def __init__(self, tasks: Sequence[QueryTask]) -> None:
        self._tasks = tasks
        self._units: deque[OpenUnit] = deque()
        self._draws: dict[DrawName, OpenDraw] = {}
        self._waiting: deque[OpenDraw] = deque()

    def __len__(self) -> int:
        return len(self._units)

    @property
    def draws(self) -> int:
        """Draws of all open units, answered ones too."""
        return sum(unit.unit.draws for unit in self._units)

    @property
    def waiting(self) -> int:
        """Draws that no replica has."""
        return len(self._waiting)

    def open(self, request: UnitRequest) -> None:
        """Add a unit; what it lacks waits to be sent, unless another unit has asked for it."""
        unit, task = request.unit, self._tasks[request.unit.run]
        digests = {image_id: image_digest(request.images[image_id]) for image_id in unit.image_ids}
        keys = []
        for block in unit.blocks:
            assert block.sigma is None, "pictures have the noise level of their run"
            keys.append([DrawKey(digests[block.image_id], unit.role, draw) for draw in task.draws_of(block)])
        opened = OpenUnit(request, task, keys)
        for image_id, digest in digests.items() if task.reference_log is not None else ():
            self._lack(opened, image_id, [DrawKey(digest, Role.REFERENCE, 0)])
        for block, of_block in zip(unit.blocks, keys, strict=True):
            self._lack(opened, block.image_id, of_block)
        self._units.append(opened)

    def _lack(self, unit: OpenUnit, image_id: int, keys: Sequence[DrawKey]) -> None:
        role, log = keys[0].role, unit.task.log_of(keys[0].role)
        missing = set(log.missing(keys[0].image, role, [key.draw for key in keys]))
        for key in keys:
            name = (id(log), key)
            if key.draw not in missing and name not in self._draws:  # one that is not on the disk yet is open
                continue
            if name not in self._draws:
                image = unit.request.images[image_id]
                self._draws[name] = OpenDraw(log, key, unit.unit.run, image_id, image, [])
                self._waiting.append(self._draws[name])
            self._draws[name].units.append(unit)
            unit.lacks.add(name)

    def take(self, most: int) -> list[OpenDraw]:
        """The next draws to be sent, of one image in one run, at most this number."""
        taken: list[OpenDraw] = []
        while self._waiting and len(taken) < most:
            draw = self._waiting[0]
            if all(unit.dropped for unit in draw.units):
                self._waiting.popleft()
                del self._draws[draw.name]
                continue
            if taken and (draw.run, draw.image_id) != (taken[0].run, taken[0].image_id):
                break
            taken.append(self._waiting.popleft())
        return taken

    def put_back(self, draws: Sequence[OpenDraw]) -> None:
        """Draws that were not sent, or whose replica is gone: before all others."""
        self._waiting.extendleft(reversed(draws))

    def answered(self, draw: OpenDraw) -> None:
        """Its answer is on the disk."""
        if draw.foreign:
            return
        del self._draws[draw.name]
        for unit in draw.units:
            unit.lacks.discard(draw.name)

    def drop_unwanted(self, wanted: Callable[[WorkUnit], bool]) -> None:
        """Drop units that are not `wanted` any more; what they alone lack is not sent."""
        for unit in self._units:
            unit.dropped = not wanted(unit.unit)
        if any(unit.dropped for unit in self._units):
            self._units = deque(unit for unit in self._units if not unit.dropped)

    def complete(self) -> Iterator[OpenUnit]:
        """The first unit, and the first again, as long as it lacks nothing."""
        while self._units and not self._units[0].lacks:
            yield self._units.popleft()

    def would_lack(self, request: UnitRequest) -> int:
        """Draws of a unit that is not opened for which there is no answer; without references."""
        task, unit = self._tasks[request.unit.run], request.unit
        return sum(
            len(task.log.missing(image_digest(request.images[block.image_id]), unit.role, task.draws_of(block)))
            for block in unit.blocks
        )

    def lacking(self) -> int:
        """Draws without an answer that an open unit waits for."""
        return len({name for unit in self._units for name in unit.lacks})
