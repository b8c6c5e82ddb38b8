"""What deaths of replicas cost, and how many it takes to find a unit that causes them; on a real Ray.

    python benchmarks/deaths.py

Replicas sleep instead of computing, after a start of `--start` seconds beside Ray's own. `rates`: while they draw, a
process of a replica, chosen at random among those that draw and those that start, is killed (SIGKILL) every 2 to 16
seconds, if there is one: Ray cannot tell that from a crash. `culprits`: one of 160 units, which one replica holds,
kills it.

A replica is *available* from the moment at which it can draw until its death, by its own clock and the killer's: the
start of a replica is lost to any pool. *draws/s available* are the draws whose results came back, by the seconds in
which replicas were available; whatever a death costs beyond the start lowers it: the call that was lost, the notice,
suspects drawn by themselves. *of calm* is its ratio to the same without deaths, in the same round.
"""

import argparse
import logging
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import ray
from stub_replica import StubReplica

from raysmooth.actors.noise.role import Role
from raysmooth.actors.replica.work_unit import Block, Drawn, WorkUnit
from raysmooth.pipeline.pool.pool import Pool
from raysmooth.pipeline.pool.replica_resources import ReplicaResources
from raysmooth.pipeline.pool.tasks import UnitRequest

RESULTS = Path(__file__).parent / "results" / "deaths.md"
DRAWS = 100
"""Per unit."""

HELD = 160
"""Units of a replica in the search for a culprit: three calls of 2.8 ms units."""


def mortal(folder: Path, start: float, unit: float, culprit: int | None = None) -> type[StubReplica]:
    """A class of replicas that say in `folder` when their start began and when they could draw, by files named after
    their processes; the unit of the image `culprit` kills them.
    """

    class Mortal(StubReplica):
        seconds_per_unit = unit

        def __init__(self, device: str, threads: int) -> None:
            (folder / f"{os.getpid()}.starting").touch()
            time.sleep(start)

        def prepare(self, samplings: Sequence[Any], image_shapes: Sequence[tuple[int, ...]]) -> float:
            (folder / f"{os.getpid()}.ready").write_text(str(time.time()))
            return 0.0

        def draw(self, units: Sequence[WorkUnit], keys: Sequence[Any], *images: np.ndarray) -> Drawn:
            if culprit is not None:
                before = next((i for i, unit in enumerate(units) if unit.image_ids[0] == culprit), None)
                if before is not None:
                    time.sleep(self.seconds_per_unit * before)
                    os.kill(os.getpid(), signal.SIGKILL)
            return super().draw(units, keys, *images)

    return Mortal


class Killer(threading.Thread):
    """Kills a process of `folder` every `seconds`; `deaths` are their times by process id."""

    def __init__(self, folder: Path, seconds: float, seed: int) -> None:
        super().__init__(daemon=True)
        self._folder, self._seconds, self._chance = folder, seconds, random.Random(seed)
        self.deaths: dict[int, float] = {}
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(self._seconds):
            alive = sorted(int(file.stem) for file in self._folder.glob("*.starting"))
            alive = [process for process in alive if process not in self.deaths]
            if alive:
                process = self._chance.choice(alive)
                self.deaths[process] = time.time()
                with suppress(ProcessLookupError):  # the pool has ended it
                    os.kill(process, signal.SIGKILL)


def requests(images: Iterable[int]) -> Iterator[UnitRequest]:
    """A unit for each of `images`."""
    pixels = np.zeros((1, 2, 2), np.float32)
    return (UnitRequest(WorkUnit(0, Role.ESTIMATION, (Block(i, 0, DRAWS),)), {i: pixels}) for i in images)


def rate(every: float | None, replicas: int, start: float, unit: float, seconds: float, seed: int) -> dict[str, Any]:
    """Draw for `seconds`, killing a replica at intervals of `every` seconds; none if `every` is None."""
    with tempfile.TemporaryDirectory() as name:
        folder, supply = Path(name), requests(count())
        with Pool(replicas, ReplicaResources(1, 0.0), lambda note: None, mortal(folder, start, unit)) as pool:
            pool.wait_up()
            pool.prepare([], [])
            pool.wait_prepared(patience=300.0)
            killer = Killer(folder, every or 0.0, seed)
            began, draws, given_up = time.time(), 0, 0
            end = began + seconds
            if every is not None:
                killer.start()
            for result in pool.draw(lambda: next(supply) if time.time() < end else None, lambda _: time.time() < end):
                in_time = time.time() <= end
                given_up += result.drawn is None
                draws += DRAWS * (in_time and result.drawn is not None)
            killer.over.set()
            again = pool.telemetry.again
        available = 0.0
        for file in folder.glob("*.ready"):
            until = min(end, killer.deaths.get(int(file.stem), end))
            available += max(0.0, until - max(began, float(file.read_text())))
        in_time = {process: at for process, at in killer.deaths.items() if at < end}
        starting = sum(not (folder / f"{process}.ready").exists() for process in in_time)
    return {
        "s per unit": unit,
        "a death every, s": "never" if every is None else f"{every:g}",
        "deaths": len(in_time),
        "while starting": starting,
        "available, of all replica-seconds": available / replicas / seconds,
        "draws": draws,
        "units drawn again": again,
        "units given up": given_up,
        "draws/s available": draws / available if available else float("nan"),
    }


def rates(replicas: int, start: float, units: Sequence[float], seconds: float) -> pd.DataFrame:
    """All rates of deaths, for units of these durations; calm is measured before and after them, and the mean taken."""
    rows = []
    for unit in units:
        order = [None, 2.0, 4.0, 8.0, 16.0, None]
        found = []
        for seed, every in enumerate(order):
            found.append(rate(every, replicas, start, unit, seconds, seed))
            print(found[-1], file=sys.stderr, flush=True)
        calm = sum(row["draws/s available"] for row in (found[0], found[-1])) / 2
        rows += [{**row, "of calm": row["draws/s available"] / calm} for row in found]
    return pd.DataFrame(rows)


def deaths_until_found(culprit: int) -> tuple[int, int]:
    """Deaths until the unit of image `culprit` is given up, and how many other units were given up."""
    with tempfile.TemporaryDirectory() as name:
        kind = mortal(Path(name), 0.0, 0.0028, culprit)
        with Pool(1, ReplicaResources(1, 0.0), lambda note: None, kind) as pool:
            pool.wait_up()
            pool.prepare([], [])
            pool.wait_prepared()
            given_up: list[int] = []
            # Once durations are known, the next calls of the replica have 54, 54 and 52 units.
            for images in (range(HELD, HELD + 8), range(HELD)):
                supply = requests(images)
                results = list(pool.draw(partial(next, supply, None), lambda _: True))
                assert len(results) == len(images)
                given_up += [one.request.unit.image_ids[0] for one in results if one.drawn is None]
            assert culprit in given_up
            return pool.telemetry.deaths, len(given_up) - 1


def culprits(places: int) -> pd.DataFrame:
    """Deaths until a culprit is found, for `places` of it among the units that a replica holds."""
    found = [deaths_until_found(place) for place in np.linspace(0, HELD - 1, places).round().astype(int).tolist()]
    deaths = [one for one, _ in found]
    row = {"units held": HELD, "places tried": places, "deaths, median": median(deaths), "deaths, most": max(deaths)}
    return pd.DataFrame([{**row, "other units given up": sum(units for _, units in found)}])


def machine() -> str:
    """The machine, and how busy it is."""
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} cores, load average {load:.1f} at the start; Ray {ray.__version__}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicas", type=int, default=4)
    parser.add_argument("--start", type=float, default=5.0, help="seconds of a start, beside Ray's own")
    parser.add_argument("--unit", type=float, nargs="+", default=[0.02, 0.2], help="seconds per unit")
    parser.add_argument("--seconds", type=float, default=120.0, help="per rate of deaths")
    parser.add_argument("--places", type=int, default=16, help="of the culprit")
    parser.add_argument("--write", action="store_true", help=f"the tables into {RESULTS.name}")
    parser.add_argument("sections", nargs="*", help="rates, culprits; default both")
    given = parser.parse_args()
    parts = [
        f"{machine()}; {given.replicas} replicas, a start of {given.start:g} s beside Ray's own, "
        f"{given.seconds:g} s per rate. What the columns are: `benchmarks/deaths.py`."
    ]
    # Ray would start replicas with a niceness of 15, which measures other work on the machine.
    os.environ.setdefault("RAY_worker_niceness", "0")
    ray.init(
        "local", num_cpus=given.replicas, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False
    )
    tables: dict[str, Callable[[], pd.DataFrame]] = {
        "rates": lambda: rates(given.replicas, given.start, given.unit, given.seconds),
        "culprits": lambda: culprits(given.places),
    }
    for name in given.sections or tables:
        table = tables[name]()
        parts.append(table.to_markdown(index=False, floatfmt=".3f"))
        print(parts[-1], flush=True)
    if given.write:
        RESULTS.write_text("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
