"""Numbers of a pool that asks an API."""

from raysmooth.actors.queries.rate_bucket import BucketState
from raysmooth.pipeline.pool.telemetry import Telemetry


class QueryTelemetry(Telemetry):
    """Beside those of any pool, of this session: `queries` answered, `charged`, answered or not, `throttled` requests,
    and `dollars` charged. `bucket`: the rate at which all replicas together may send now.
    """

    def __init__(self, rate: float | None) -> None:
        super().__init__()
        self.queries = self.charged = self.throttled = 0
        self.dollars = 0.0
        self.bucket = BucketState(rate, 0)

    @property
    def of_pool(self) -> dict[str, float]:
        return {
            **super().of_pool,
            "raysmooth_queries": self.charged,
            "raysmooth_queries_waiting": self.bucket.waiting,
            "raysmooth_queries_throttled": self.throttled,
            "raysmooth_dollars": self.dollars,
        }

    def ended(self) -> None:
        super().ended()
        self.bucket = BucketState(self.bucket.rate, 0)
