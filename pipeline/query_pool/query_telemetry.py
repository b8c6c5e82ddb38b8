"""Numbers of a pool that asks an API."""

from raysmooth.pipeline.pool.telemetry import Telemetry


class QueryTelemetry(Telemetry):
    """Beside those of any pool: `queries` answered in this session, `throttled` requests, `dollars` charged in this
    session, and the `rate`, pictures a second, that the bucket last named, None if unlimited.
    """

    def __init__(self, rate: float | None) -> None:
        super().__init__()
        self.queries = self.throttled = 0
        self.dollars = 0.0
        self.rate = rate
