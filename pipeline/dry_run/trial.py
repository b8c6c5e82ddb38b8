"""What a dry run needs of the replicas that it tries the networks on."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from raysmooth.actors.replica.sampling import Sampling
from raysmooth.actors.replica.work_unit import WorkUnit
from raysmooth.pipeline.pool.tasks import UnitRequest, UnitResult


class Trial(Protocol):
    """Replicas on Ray (`Pool`, whose docstrings hold), or processes in their place."""

    def ask(self, question: str, *arguments: Any) -> Any: ...

    def ask_all(self, question: str, *arguments: Any) -> list[Any]: ...

    def prepare(self, samplings: Sequence[Sampling], image_shapes: Sequence[tuple[int, ...]]) -> None: ...

    def wait_prepared(self, patience: float = 0.0) -> None: ...

    def draw(
        self, next_request: Callable[[], UnitRequest | None], wanted: Callable[[WorkUnit], bool]
    ) -> Iterator[UnitResult]: ...
