"""How raysmooth says no: one line, for the person who asked, before any expensive work."""

from collections.abc import Iterable
from difflib import get_close_matches


class Refusal(Exception):
    """A request that cannot be carried out.

    The message is one line: what is wrong, where, and what to write instead. The command line prints it
    without a trace and exits with code 2; a notebook user sees an ordinary exception.
    """


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown `name`: the nearest known one if any, and all that are known."""
    known = sorted(known)
    close = get_close_matches(name.lower(), [k.lower() for k in known], n=1, cutoff=0.5)
    hint = next((f"did you mean '{k}'? " for k in known if close and k.lower() == close[0]), "")
    return f"{hint}(known: {', '.join(known)})"
