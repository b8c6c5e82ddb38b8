"""Judges what a case did: a right result, a refusal in one printable line, or a defect."""

import re
from dataclasses import dataclass
from pathlib import Path

from fuzz.case import Expected, Outcome, Play
from fuzz.values import FORGED

LONGEST_LINE = 1020
"""Of a refusal, with its prefix. Texts from files have at most 200 characters, which is checked by itself."""

_LONGEST_QUOTE = 205
_WRITTEN = (".html", ".tex", ".csv", ".md", ".txt", ".json")


@dataclass(frozen=True)
class Ended:
    """How a request ended: `code` 0 (also where it was about to start Ray, or an epoch), 1 where all images failed, 2
    for a refusal, None for a traceback. `message`: the refusal of a Python call, or the trace. `escaped`: what the
    sandbox saw; `defect`: what the request found itself.
    """

    code: int | None
    out: str
    err: str
    message: str = ""
    escaped: tuple[str, ...] = ()
    defect: Outcome | None = None


def judge(play: Play, ended: Ended) -> tuple[Outcome, str]:
    """The outcome, and what shows it."""
    said = {f"opened {Path(file).resolve()}" for file in play.named if file in ended.err}
    if escaped := [one for one in ended.escaped if one not in said]:
        return Outcome.ESCAPED, "; ".join(escaped)
    if ended.defect is not None:
        return ended.defect, ended.message
    if ended.code not in (0, 1, 2):
        return Outcome.TRACEBACK, ended.message or f"exit {ended.code}: {ended.err[-2000:]}"
    if "Traceback (most recent call last)" in ended.err:
        return Outcome.TRACEBACK, ended.err[-2000:]
    texts = {"standard output": ended.out, "standard error": ended.err, **_files(play)}
    for where, text in texts.items():
        if (raw := _raw(text, in_file=where not in ("standard output", "standard error"))) is not None:
            return Outcome.RAW, f"{where}: {raw}"
    if ended.code == 2:
        line = ended.message or _refusal(ended.err)
        if line is None:
            return Outcome.RAW, f"no refusal in one line: {ended.err[-1000:]!a}"
        if (raw := _raw(line, in_file=False)) is not None or "\n" in line or len(line) > LONGEST_LINE:
            return Outcome.RAW, f"refusal of {len(line)} characters: {raw or ascii(line[:300])}"
        if play.expected is Expected.READ:
            return Outcome.STRICT, line
        return Outcome.REFUSED, line
    if play.expected is Expected.REFUSED:
        return Outcome.SILENT, (ended.err or ended.out)[-500:]
    return Outcome.RIGHT, ""


def _refusal(err: str) -> str | None:
    """The line of a refusal, which ends standard error; None if there is none."""
    line = err.rstrip("\n").rpartition("\n")[2]
    return line if line.startswith("raysmooth: ") else None


def _raw(text: str, in_file: bool) -> str | None:
    """What of a text must not reach a terminal; None if nothing."""
    for character in text:
        if not (character.isprintable() or character in "\n\t" or (in_file and character == "\r")):
            if in_file and not (ord(character) < 32 or ord(character) == 127):
                continue  # the page's own no-break spaces, say
            at = text.index(character)
            return ascii(text[max(0, at - 60) : at + 60])
    if re.search(rf"^{FORGED}", text, re.MULTILINE):
        return f"a line of its own: {FORGED}"
    if f"<script>{FORGED}" in text and in_file and "<html" in text:
        return "a script"
    longest = max(re.findall(r"Q+", text), key=len, default="")
    if len(longest) > _LONGEST_QUOTE:
        return f"{len(longest)} characters of a text from a file"
    return None


def _files(play: Play) -> dict[str, str]:
    """The texts that a request wrote for people, by path."""
    found = {}
    for folder in play.written:
        for file in sorted(Path(folder).rglob("*")):
            if file.suffix in _WRITTEN and file.is_file():
                found[str(file)] = file.read_text(errors="replace")
    return found
