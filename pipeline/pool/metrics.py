"""Metrics of the pool and the driver, which Ray exports to Prometheus.

The heartbeat's thread passes the numbers to Ray at every tick. Nothing here may make a run fail or wait.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

import ray
from ray.util.metrics import Counter, Gauge, Histogram

from raysmooth.pipeline.pool.telemetry import RunNumbers, Telemetry

_BOUNDARIES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)


@dataclass(frozen=True)
class Metric:
    """`of_run` metrics have the tags `run` (its id) and `sigma`; the others describe the pool, which draws for several
    runs. `made` is Ray's class; `suffixes` are those that Prometheus finds behind the name.
    """

    about: str
    made: type[Any]
    of_run: bool = False

    @property
    def suffixes(self) -> tuple[str, ...]:
        return {Counter: ("_total",), Gauge: ("",), Histogram: ("_bucket", "_count", "_sum")}[self.made]


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "raysmooth_draws": Metric("Draws whose counts are in", Counter, of_run=True),
        "raysmooth_images": Metric("Finished images, error rows included", Counter, of_run=True),
        "raysmooth_errors": Metric("Images that ended as error rows, so far", Gauge, of_run=True),
        "raysmooth_images_left": Metric("Images left to do", Gauge, of_run=True),
        "raysmooth_unit_seconds": Metric("Seconds of computing a work unit, on its replica", Histogram, of_run=True),
        "raysmooth_replicas": Metric("Replicas that can draw", Gauge),
        "raysmooth_units_waiting": Metric("Work units that wait to be drawn again", Gauge),
        "raysmooth_units_in_flight": Metric("Work units that replicas hold", Gauge),
        "raysmooth_replica_deaths": Metric("Replicas that died, so far", Gauge),
        "raysmooth_units_drawn_again": Metric("Work units handed out again, so far", Gauge),
        # Where an API is asked:
        "raysmooth_queries": Metric("Queries that are charged, answered or not", Counter),
        "raysmooth_queries_waiting": Metric("Queries that wait until the rate lets them through", Gauge),
        "raysmooth_queries_throttled": Metric("Requests that the API refused as too many, so far", Gauge),
        "raysmooth_dollars": Metric("Dollars that queries have cost, so far", Gauge),
    }
)
"""By our names for them; `exported` gives the names in Prometheus. Rare events have a gauge that grows: a counter of
Ray does not exist before its first event, so Prometheus would never see that one as an increase. Do not rely on a
histogram's `_sum`, which Ray estimates from the buckets. A gauge that is not set for 20 seconds disappears.
"""


def exported(name: str) -> tuple[str, ...]:
    """The names of a metric in Prometheus."""
    return tuple(f"ray_{name}{suffix}" for suffix in METRICS[name].suffixes)


class Publisher:
    """Passes to Ray what is new since the last call. For one session."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._published: dict[tuple[str, str], float] = {}

    def publish(self, runs: Sequence[RunNumbers]) -> None:
        """Publish the numbers of `runs`, in the order of their numbers in the pool; nothing where there is no Ray."""
        if not ray.is_initialized():
            self._telemetry.units.clear()
            return
        tags = [{"run": run.run_id, "sigma": f"{run.sigma:.6g}"} for run in runs]
        for run, own in zip(runs, tags, strict=True):
            for name in ("draws", "images", "errors", "images_left"):
                self._publish(f"raysmooth_{name}", getattr(run, name), own)
        seconds = _ray_metric("raysmooth_unit_seconds")
        for _ in range(len(self._telemetry.units)):
            index, took = self._telemetry.units.popleft()
            seconds.observe(took, tags[index])
        for name, value in self._telemetry.of_pool.items():
            self._publish(name, value, {})

    def end(self, runs: Sequence[RunNumbers]) -> None:
        """Publish a last time, with the pool's gauges at zero: they would keep their last values otherwise."""
        self._telemetry.ended()
        self.publish(runs)

    def _publish(self, name: str, value: float, tags: dict[str, str]) -> None:
        metric, key = _ray_metric(name), (name, tags.get("run", ""))
        if METRICS[name].made is Gauge:
            metric.set(value, tags)
        elif (more := value - self._published.get(key, 0)) > 0:
            metric.inc(more, tags)
            self._published[key] = value


@cache
def _ray_metric(name: str) -> Any:
    """Ray's object for a metric, one per process."""
    metric = METRICS[name]
    options = {"boundaries": list(_BOUNDARIES)} if metric.made is Histogram else {}
    return metric.made(name, metric.about, tag_keys=("run", "sigma") if metric.of_run else (), **options)
