"""Settings in messages as they were written. All code names a setting by its flag, `--data-root`; where that was a
keyword of Python or a key of a file, the message is altered on its way out.
"""

import inspect
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from raysmooth.common.errors import Interrupted, RaysmoothError, nearest, printable

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_FLAG = re.compile(
    r"(?P<command>raysmooth [a-z][^;,'`]*)"  # a whole command has flags, wherever it is shown
    r"|(?P<write>\b(?:write|or) |(?<=, ))?(?<![\w-])--(?P<flag>[a-z][a-z0-9]*(?:-[a-z0-9]+)*)"
    r"(?P<value> (?!(?:and|as|for|in|of|or|to|too|with)\b)[\w./{}+~:@-]*[\w/}]"
    r"(?:=[\w./+-]*\w(?:,\w+=[\w./+-]*\w)*)?)?"  # NAME:option=value,option=value is one value
)
_TOGETHER = re.compile(r"\bwrite(?: --[a-z][a-z0-9-]*(?: [^\s,;:-][^\s,;]*)?){2,}")
"""Several flags to be written, as on a command line; keywords and keys have commas between them."""

_SWITCHES = {"dry_run", "intervals", "offline", "overwrite", "smoke", "strict", "trust_code", "verbose"}
"""Settings that are true or false."""


def as_keywords(message: str) -> str:
    """`message` with keywords of Python in place of flags: "write --sigma 0.25" becomes "write sigma=0.25"."""
    return _respelled(message, lambda name: True, "=", "True", _literal)


def _literal(value: str) -> str:
    """`value` as Python has it: text in quotes, except for words that stand for any value, as in NAME or FILE."""
    is_number = re.fullmatch(r"[+-]?[\d./]+(?:e[+-]?\d+)?", value)
    return value if is_number or value.isupper() else f'"{value}"'


def as_keys(message: str, but: Collection[str] = (), only: Collection[str] | None = None) -> str:
    """`message` with keys of a file in place of flags, `only` some of them, none of `but`: "write sigma: 0.25"."""
    return _respelled(message, lambda name: name not in but and (only is None or name in only), ": ", "true")


def _respelled(
    message: str, is_meant: Callable[[str], bool], equals: str, true: str, quoted: Callable[[str], str] = str
) -> str:
    def spell(found: re.Match[str]) -> str:
        name = (found["flag"] or "").replace("-", "_")
        if found["command"] or not is_meant(name):
            return found[0]
        write, value = found["write"], (found["value"] or "")[1:]
        if write and name in _SWITCHES:
            return f"{write}{name}{equals}{true}{found['value'] or ''}"
        if write is None or not value or name in _SWITCHES:
            return f"{write or ''}{name}{found['value'] or ''}"
        return f"{write}{name}{equals}{quoted(value)}"

    return _FLAG.sub(spell, _TOGETHER.sub(lambda found: re.sub(r"(?<!write) --", ", --", found[0]), message))


@contextmanager
def keys_of(
    config: str | Path | None, given: Collection[str], written: Mapping[str, Any] | None = None, whole: bool = False
) -> Iterator[None]:
    """Refusals of what is done meanwhile name the settings of the file `config` by their keys, and begin with its name.

    Those are all that are not `given` otherwise; of a command whose flags are its file's keys, those that are `written`
    in the file. One that names no setting, but the value of one that is written, gets its key. `whole`: every refusal
    is about the file.
    """
    try:
        yield
    except RaysmoothError as refusal:
        message = str(refusal)
        named = as_keys(message, {*given, "trust_code"}, written)
        if named == message and written is not None:
            named = _with_key(message, {key: value for key, value in written.items() if key not in given})
        where = f"{printable(str(config))}: " if config is not None else ""
        if (whole or named != message) and not named.startswith(where):
            named = where + named
        refusal.args = (named,)
        raise


def _with_key(message: str, written: Mapping[str, Any]) -> str:
    """`message`, below the key of the text in it, if it names no setting and has that of one key only."""
    keys = [key for key, value in written.items() if isinstance(value, str) and value and value in message]
    if len(keys) != 1 or _FLAG.search(message) or re.match(rf"\S+: |.*\b{keys[0]}\b", message):
        return message
    return f"{keys[0]}: {message}"


_RESUME = (
    *("certify", "predict", "optimize_sigma", "train_classifier", "train_denoiser", "train_rejector", "sweep", "run"),
)
"""Functions that leave finished work, with which the next call goes on."""

_python_calls = 0
"""Calls of the Python API that are going on, in any thread: their notes come from several."""


@contextmanager
def _called_from_python() -> Iterator[None]:
    global _python_calls
    _python_calls += 1
    try:
        yield
    finally:
        _python_calls -= 1


def as_called(note: str) -> str:
    """A note to the user, with keywords in place of flags within a call of the Python API."""
    return as_keywords(note) if _python_calls else note


def in_keywords(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """`function` of the Python API, whose refusals name settings by its keywords, and those of its `config` by their
    keys. A keyword that it does not have is refused as an unknown setting is.
    """
    parameters = inspect.signature(function).parameters
    names = list(parameters)
    resumes = function.__name__ in _RESUME
    takes_any = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())

    @wraps(function)
    def called(*args: Arguments.args, **settings: Arguments.kwargs) -> Result:
        if unknown := [name for name in settings if name not in parameters and not takes_any]:
            raise RaysmoothError(f"unknown setting '{printable(unknown[0])}': {nearest(unknown[0], names)}")
        try:
            config: Any = dict(zip(names, args, strict=False)).get("config", settings.get("config"))
            with keys_of(config, settings, _read_again(config)), _called_from_python():
                return function(*args, **settings)
        except KeyboardInterrupt as interrupt:
            said = "finished work is on disk; the same call resumes" if resumes else "interrupted"
            raise Interrupted(said).with_traceback(interrupt.__traceback__) from None
        except RaysmoothError as refusal:
            refusal.args = (as_keywords(str(refusal)),)
            raise

    return called


def _read_again(config: Any) -> Mapping[str, Any]:
    """What is written in the file, if it can be read: if not, `function` says so."""
    from raysmooth.common.settings_file import read_yaml

    try:
        return read_yaml(config) if config is not None else {}
    except RaysmoothError:
        return {}
