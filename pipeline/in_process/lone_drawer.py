"""A pool's place taken by one drawer of units, in this process."""

from collections.abc import Callable, Iterator

from raysmooth.actors.replica.unit_drawer import UnitDrawer
from raysmooth.actors.replica.work_unit import WorkUnit
from raysmooth.pipeline.pool.tasks import UnitRequest, UnitResult
from raysmooth.pipeline.pool.telemetry import Telemetry

_ATTEMPTS = 2
"""How often the unit of one image is computed before its exception is that image's error, as in a pool."""


class LoneDrawer:
    """Draws one unit after the other with `drawer`."""

    def __init__(self, drawer: UnitDrawer) -> None:
        self._drawer = drawer
        self.telemetry = Telemetry()

    def draw(
        self,
        next_request: Callable[[], UnitRequest | None],
        wanted: Callable[[WorkUnit], bool],
        units_left: Callable[[], int] | None = None,
    ) -> Iterator[UnitResult]:
        """The results of all requests, until there are none. A request is drawn when it is asked for, so that nothing
        is drawn that is not `wanted`, and how many `units_left` does not matter.
        """
        while (request := next_request()) is not None:
            yield self._drawn(request)

    def _drawn(self, request: UnitRequest) -> UnitResult:
        unit, failure = request.unit, None
        keys = [(unit.run, image_id) for image_id in request.images]
        is_of_one = request.only is not None or len(unit.image_ids) == 1  # others are tried image by image
        for _ in range(_ATTEMPTS if is_of_one else 1):
            drawn = self._drawer.draw([unit], keys, *request.images.values())
            if drawn.failed is None:
                return UnitResult(request, drawn.counts[0])
            failure = drawn.failed
        return UnitResult(request, None, failure)
