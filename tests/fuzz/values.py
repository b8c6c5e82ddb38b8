"""Values that programs rarely expect, and alterations of trees of values: JSON, YAML, settings."""

import json
from collections.abc import Iterator
from copy import deepcopy
from math import inf, nan
from random import Random
from typing import Any

FORGED = "FORGED"
"""A word that raysmooth may quote, but never at the start of a line: then a text has added a line of its own."""

LONG = "Q" * 5000
"""Of a text from a file at most 200 characters may be printed."""

SECRET = "../outside/secret"
"""A file beside the case's folder, which no input may make raysmooth open."""

OWN = "canary_module"
"""A module in the case's folder, and with it code of the user's own; no file may make raysmooth import it."""

TEXTS = (
    "", " ", "none", "null", "nan", "1e999", "-1", "0", "True", "~", "~nosuchuser/x", "/", ".", "..",
    "/proc/self/environ", SECRET, LONG,
    f"a\n{FORGED} line", f"a\r{FORGED} line", "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "bell\x07", "nul\x00nul",
    "\u202ereversed", "zero\u200bwidth", "\ud800", "\U0001f600", "e\u0301" * 60, "<script>FORGED</script>", "=1+1",
    "@SUM(A1)", "{sigma}", "{0.__class__}", "%s%n", "[red]markup[/red]", "\\input{secret}", f"{OWN}:make",
    f"{OWN}:make:width=2", f"{OWN}:make@w.safetensors", "os:system", "s3:/", "s3://", "gs://?", "file:///etc/passwd",
    "http://[", "a,b", "a=b", "a:b=c,", ":", "@", "#", "x" * 300,
)  # fmt: skip

NUMBERS = (
    0, 1, -1, 2, 7, 255, 256, 2**31 - 1, 2**31, -(2**31), 2**63 - 1, 2**63, -(2**63), 2**64, 10**30, 10**400, 0.0, -0.0,
    0.5, 1.5, -0.25, 1e-300, 5e-324, 1e308, -1e308, inf, -inf, nan, True, False,
)  # fmt: skip


def nested(depth: int) -> Any:
    """A list in a list in a list ..."""
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


def odd_value(rng: Random, old: Any = None) -> Any:
    """A value to put in place of `old`: of another type, of another size, or a relative of it."""
    way = rng.randrange(8)
    if way == 0:
        return rng.choice((None, [], {}, [None], {"a": None}, [[]], {"": {}}, nested(40)))
    if way == 1:
        return rng.choice(TEXTS)
    if way == 2:
        return rng.choice(NUMBERS)
    if way == 3 and old is not None:
        return rng.choice(([old], [old, old], {"value": old}, {str(old)[:20]: old}))
    if way == 4 and isinstance(old, int | float) and not isinstance(old, bool):
        return rng.choice((-old, old + 1, old - 1, old * 2, old * 10**6, old / 2, str(old), float(old)))
    if way == 5 and isinstance(old, str):
        return rng.choice((old.upper(), old + "x", old[:-1], old[::-1], f"{old}\n{FORGED}", old * 500, f" {old}", "0"))
    if way == 6 and isinstance(old, list):
        return rng.choice((old * 2, old[:-1], old[::-1], [*old, None], dict(enumerate(map(str, old)))))
    return rng.choice((*TEXTS, *NUMBERS))


def paths_in(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of each value in a tree of mappings and lists, the tree's own, (), first."""
    yield path
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield from paths_in(value, (*path, key))


def altered_tree(rng: Random, tree: Any, within: tuple[Any, ...] = ()) -> tuple[Any, str]:
    """A copy of a tree with one value removed, replaced, renamed or added, and what that is in words. `within`: the
    path of the part to alter.
    """
    whole = deepcopy(tree)
    inner = whole
    for key in within:
        inner = inner[key]
    path = rng.choice([*paths_in(inner)][1:] or [()])
    if not (within or path):
        return odd_value(rng, tree), "another value in place of everything"
    path = (*within, *path)
    holder = whole
    for key in path[:-1]:
        holder = holder[key]
    key, where = path[-1], "/".join(map(str, path))
    way = rng.randrange(10)
    if way == 0:
        del holder[key]
        return whole, f"{where} removed"
    if way == 1 and isinstance(holder, dict):
        holder[rng.choice((*TEXTS[:20], str(key).upper(), f"{key}_"))] = holder.pop(key)
        return whole, f"{where} renamed"
    if way == 2 and isinstance(holder, dict):
        holder[rng.choice(TEXTS)] = odd_value(rng)
        return whole, f"a key added beside {where}"
    if way == 3:
        holder[key] = None
        return whole, f"{where} = null"
    holder[key] = odd_value(rng, holder[key])
    return whole, f"{where} = {shown(holder[key])}"


def shown(value: Any) -> str:
    """A value in a few printable words, for the description of a case."""
    try:
        text = ascii(value)
    except (ValueError, RecursionError):  # a number of more than 4,300 digits, or deep nesting
        text = type(value).__name__
    return text if len(text) <= 80 else f"{text[:77]}..."


def json_text(rng: Random, tree: Any) -> tuple[bytes, str]:
    """JSON of `tree`, mostly; sometimes bytes that are nearly JSON. And what it is in words."""
    text = json.dumps(tree, indent=rng.choice((None, 1)))
    way = rng.randrange(24)
    if way == 0:
        return text[: rng.randrange(len(text) + 1)].encode(), "cut off"
    if way == 1:
        return text.encode("utf-16"), "UTF-16"
    if way == 2:
        return b"\xef\xbb\xbf" + text.encode(), "with a BOM"
    if way == 3:
        return text.encode() + b"\xff\xfe", "bytes that are no UTF-8 after it"
    if way == 4:
        depth = rng.choice((1000, 100_000))
        return b"[" * depth + b"]" * rng.choice((0, depth)), f"{depth} brackets"
    if way == 5:
        return b'{"a":' * 100_000, "100000 open objects"
    if way == 6:
        return text.replace(": 1", ": 1" + "0" * 5000, 1).encode(), "a number of 5000 digits"
    if way == 7:
        return b"", "empty"
    return text.encode(), ""
