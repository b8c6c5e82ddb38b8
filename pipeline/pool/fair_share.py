"""How many replicas may draw suspects, so that the other units' work goes on beside them."""

LONGEST_START = 60.0
"""Seconds of a replica's start, at most, that count: it may also have waited for its node."""


class FairShare:
    """Keeps suspects to half of the replicas at a time, and to half of the replica-seconds from then on: on a single
    replica, suspects and other units take turns. What a death costs counts too: the start of the next replica.
    """

    def __init__(self) -> None:
        self._owed = 0.0
        """Replica-seconds that suspects have taken and other units have not had since."""

    def drew(self, seconds: float, suspects: bool) -> None:
        """A replica was busy with suspects, or with other units."""
        self._owed = self._owed + seconds if suspects else max(0.0, self._owed - seconds)

    def died_of_suspects(self, start_seconds: float) -> None:
        """A replica died drawing suspects whose start had taken `start_seconds`."""
        self._owed += min(start_seconds, LONGEST_START)

    def allowed(self, replicas: int, isolated: int) -> int:
        """How many more replicas may draw suspects while there is other work, if `isolated` of all `replicas` that can
        draw do so already.
        """
        return max(0, max(1, replicas // 2) - isolated) if self._owed <= 0.0 else 0
