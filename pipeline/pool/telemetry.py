"""The numbers of the pool and the driver. Reporting one costs an addition: `metrics` passes them to Ray."""

from collections import deque
from dataclasses import dataclass


class Telemetry:
    """Collects the numbers of the pool and the driver, written by one thread and read by another. The pool's are
    current ones (`replicas`, `waiting`, `in_flight`) or totals (`deaths`, `again`, and `drawn_twice`, units whose
    counts came more than once).
    """

    def __init__(self) -> None:
        self.replicas = self.waiting = self.in_flight = self.deaths = self.again = self.drawn_twice = 0
        self.units: deque[tuple[int, float]] = deque(maxlen=100_000)
        """Finished units that are not published yet: number of the run, seconds of computing."""

    def up(self, replicas: int) -> None:
        """The number of replicas that can draw now."""
        self.replicas = replicas

    def queue(self, waiting: int, in_flight: int) -> None:
        """The number of units that wait to be drawn again, and that replicas hold."""
        self.waiting, self.in_flight = waiting, in_flight

    def died(self) -> None:
        """A replica died, or was given up because it did not answer."""
        self.deaths += 1

    def drawn_again(self, units: int = 1) -> None:
        """`units` are handed out again: their replica died, or is slow."""
        self.again += units

    @property
    def of_pool(self) -> dict[str, float]:
        """What is published of the pool, by the names of METRICS."""
        return {
            "raysmooth_replicas": self.replicas,
            "raysmooth_units_waiting": self.waiting,
            "raysmooth_units_in_flight": self.in_flight,
            "raysmooth_replica_deaths": self.deaths,
            "raysmooth_units_drawn_again": self.again,
        }

    def ended(self) -> None:
        """Nothing is there any more that waits or draws."""
        self.up(0)
        self.queue(0, 0)

    def unit_done(self, run: int, seconds: float) -> None:
        """A unit of the run with this number in the pool is done, after `seconds` of computing."""
        self.units.append((run, seconds))


@dataclass(frozen=True)
class RunNumbers:
    """Progress of a run in this session, and the images that are left."""

    run_id: str
    sigma: float
    draws: int
    images: int
    errors: int
    images_left: int
