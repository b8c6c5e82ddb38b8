"""Durations as text."""


def duration(seconds: float) -> str:
    """'41 s', '12.0 min', '3.4 h' or '2.1 days'."""
    for length, unit in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"
