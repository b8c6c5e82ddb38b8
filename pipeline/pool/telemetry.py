"""What the pool and the driver tell of themselves, as metrics that Ray exports to Prometheus.

Telling costs an addition; what was told goes to Ray once a tick of the heartbeat, on its thread. Nothing here may make
a run fail, or wait.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

from ray.util.metrics import Counter, Gauge, Histogram

_BOUNDARIES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)


@dataclass(frozen=True)
class Metric:
    """`of_run`: it has the tags `run` (its id) and `sigma`; the others are of the pool, which draws for several runs.
    `made` is Ray's class; `suffixes` are what Prometheus finds behind the name.
    """

    about: str
    made: type[Any]
    of_run: bool = False

    @property
    def suffixes(self) -> tuple[str, ...]:
        return {Counter: ("_total",), Gauge: ("",), Histogram: ("_bucket", "_count", "_sum")}[self.made]


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "raysmooth_draws": Metric("Draws whose counts came back", Counter, of_run=True),
        "raysmooth_images": Metric("Images that ended, error rows among them", Counter, of_run=True),
        "raysmooth_errors": Metric("Images that ended as error rows, so far", Gauge, of_run=True),
        "raysmooth_images_left": Metric("Images still to be done", Gauge, of_run=True),
        "raysmooth_unit_seconds": Metric("Seconds of computing a work unit, on its replica", Histogram, of_run=True),
        "raysmooth_replicas": Metric("Replicas that can draw", Gauge),
        "raysmooth_units_waiting": Metric("Work units that wait to be drawn again", Gauge),
        "raysmooth_units_in_flight": Metric("Work units that replicas have in hand", Gauge),
        "raysmooth_replica_deaths": Metric("Replicas that died, so far", Gauge),
        "raysmooth_units_drawn_again": Metric("Work units handed out once more than needed, so far", Gauge),
    }
)
"""By the names that we give them; Prometheus finds them as `exported` says. What happens rarely is a gauge that grows:
a counter of Ray's does not exist before its first event, so that Prometheus never sees that one as an increase. A
histogram's `_sum` is Ray's guess from its buckets; do not build on it. A gauge that is not set for 20 seconds is gone.
"""


def exported(name: str) -> tuple[str, ...]:
    """The names under which Prometheus finds a metric."""
    return tuple(f"ray_{name}{suffix}" for suffix in METRICS[name].suffixes)


class Telemetry:
    """What the pool and the driver report to, from one thread; another one reads. The pool's numbers are as last told
    (`replicas`, `waiting`, `in_flight`) or since it began (`deaths`, `again`, and `drawn_twice`, units whose counts
    came back more than once).
    """

    def __init__(self) -> None:
        self.replicas = self.waiting = self.in_flight = self.deaths = self.again = self.drawn_twice = 0
        self.units: deque[tuple[int, float]] = deque(maxlen=100_000)
        """Units done that were not published yet, by whoever does: of which run, and after how many seconds."""

    def up(self, replicas: int) -> None:
        """So many replicas can draw now."""
        self.replicas = replicas

    def queue(self, waiting: int, in_flight: int) -> None:
        """So many units wait to be drawn again, so many are in replicas' hands."""
        self.waiting, self.in_flight = waiting, in_flight

    def died(self) -> None:
        """A replica did, by itself: not one that was given up."""
        self.deaths += 1

    def drawn_again(self, units: int = 1) -> None:
        """So many units are handed out once more: their replica died, or is late."""
        self.again += units

    def unit_done(self, run: int, seconds: float) -> None:
        """A unit of that run (its number in the pool) is, after so many seconds of computing."""
        self.units.append((run, seconds))


@dataclass(frozen=True)
class RunNumbers:
    """How far a run is: what this session made of it, and what is left."""

    run_id: str
    sigma: float
    draws: int
    images: int
    errors: int
    images_left: int


class Publisher:
    """Gives Ray what is new since it was asked last. For one session."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._published: dict[tuple[str, str], float] = {}

    def publish(self, runs: Sequence[RunNumbers]) -> None:
        """`runs` by their numbers in the pool."""
        tags = [{"run": run.run_id, "sigma": f"{run.sigma:.6g}"} for run in runs]
        for run, own in zip(runs, tags, strict=True):
            for what in ("draws", "images", "errors", "images_left"):
                self._tell(f"raysmooth_{what}", getattr(run, what), own)
        seconds = _made("raysmooth_unit_seconds")
        for _ in range(len(self._telemetry.units)):
            index, took = self._telemetry.units.popleft()
            seconds.observe(took, tags[index])
        for name, value in self._of_pool().items():
            self._tell(name, value, {})

    def end(self, runs: Sequence[RunNumbers]) -> None:
        """Once more, and that nobody is at work any longer: a gauge would otherwise stay at what it was last."""
        self._telemetry.up(0)
        self._telemetry.queue(0, 0)
        self.publish(runs)

    def _of_pool(self) -> dict[str, int]:
        telemetry = self._telemetry
        return {
            "raysmooth_replicas": telemetry.replicas,
            "raysmooth_units_waiting": telemetry.waiting,
            "raysmooth_units_in_flight": telemetry.in_flight,
            "raysmooth_replica_deaths": telemetry.deaths,
            "raysmooth_units_drawn_again": telemetry.again,
        }

    def _tell(self, name: str, value: float, tags: dict[str, str]) -> None:
        metric, key = _made(name), (name, tags.get("run", ""))
        if METRICS[name].made is Gauge:
            metric.set(value, tags)
        elif (more := value - self._published.get(key, 0)) > 0:
            metric.inc(more, tags)
            self._published[key] = value


@cache
def _made(name: str) -> Any:
    """Ray's object for a metric, one a process."""
    metric = METRICS[name]
    options = {"boundaries": list(_BOUNDARIES)} if metric.made is Histogram else {}
    return metric.made(name, metric.about, tag_keys=("run", "sigma") if metric.of_run else (), **options)
