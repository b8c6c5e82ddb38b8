"""All parts of a query log: which draws they answer is in memory, as numbers; the answers are read image by image."""

import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from raysmooth.actors.noise.role import Role
from raysmooth.actors.queries.draw_key import DrawKey
from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.queries.answer_part import AnswerPart
from raysmooth.pipeline.queries.charges import Charges
from raysmooth.pipeline.queries.journal_records import MOST_DRAWS
from raysmooth.pipeline.queries.logged_answer import LoggedAnswer
from raysmooth.pipeline.store.parts import part_files, read_parts
from raysmooth.storage.location import Location

JOURNAL, MANIFEST = "journal.jsonl", "manifest.json"
NO_PARTS = (JOURNAL, MANIFEST)
"""Other files in the folder of a log."""

KEPT_IMAGES = 4
"""Images whose answers stay in memory, as they are asked for draw by draw."""

MOST_PRICE = 10**15
"""Billionths of a dollar for one query."""

_DIGEST = re.compile(r"[0-9a-f]{64}")
_ROLES = 4
assert len(Role) <= _ROLES


class LaterPart(RaysmoothError):
    """A part is of a journal that did not exist when the present one was read."""


class AnswerParts:
    """The parts in `folder` of the query identity `identity`, but those from the journal `current` on: what they hold
    is still in that journal. `current` is None if there is no journal.

    Twelve bytes of memory a draw, and a text an image. Raises RaysmoothError for a file that is corrupt or foreign, and
    for a draw that is in two parts.
    """

    def __init__(self, folder: Location, identity: str, current: int | None) -> None:
        self._folder, self._identity, self._current = folder, identity, current
        self._codes: dict[str, int] = {}
        self._numbers: list[int] = []
        """Numbers of parts, by the number that `_places` has for them."""
        self._keys, self._places = np.empty(0, np.int64), np.empty(0, np.int32)
        self.charges = Charges()
        self.versions: dict[str, int] = {}
        """When each version of a model answered first, in microseconds since the epoch; 0 if unknown."""
        self._read: OrderedDict[str, dict[DrawKey, LoggedAnswer]] = OrderedDict()
        parts = [AnswerPart(file, identity) for file in part_files(folder) if file.name not in NO_PARTS]
        for part in parts:
            if current is not None and part.number >= current:
                part.check()
                if part.number > current:
                    raise LaterPart(part.refusal("is later than the journal"))
        found = [part for part in parts if current is None or part.number < current]
        by_file = {part.file: part for part in found}
        loaded = [
            (by_file[file], columns)
            for file, columns in read_parts([part.file for part in found], lambda file: _columns(by_file[file]))
        ]
        self._add(loaded)

    @property
    def gaps(self) -> list[int]:
        """Numbers of journals before the present one, or before the last part, that left no part."""
        end = self.next_number if self._current is None else self._current
        return sorted({*range(end)} - {*self._numbers})

    @property
    def next_number(self) -> int:
        """One more than that of the last part."""
        return max(self._numbers, default=-1) + 1

    def __contains__(self, key: object) -> bool:
        return isinstance(key, DrawKey) and not self.missing(key.image, key.role, [key.draw])

    def missing(self, image: str, role: Role, draws: Sequence[int]) -> list[int]:
        """Which of the draws of an image are in no part."""
        if (code := self._codes.get(image)) is None or not len(self._keys):
            return list(draws)
        wanted = _packed(np.int64(code), np.int64(role), np.asarray(draws, np.int64))
        places = np.searchsorted(self._keys, wanted)
        is_there = self._keys[np.minimum(places, len(self._keys) - 1)] == wanted
        return [draw for draw, there in zip(draws, is_there.tolist(), strict=True) if not there]

    def images(self) -> list[str]:
        """All images with answers, in the order of their digests."""
        return sorted(self._codes)

    def of_image(self, image: str) -> dict[DrawKey, LoggedAnswer]:
        """The answers to all draws of an image."""
        if image not in self._codes:
            return {}
        if image in self._read:
            self._read.move_to_end(image)
            return self._read[image]
        answers: dict[DrawKey, LoggedAnswer] = {}
        for number, draws in self._numbers_of(image):
            part = AnswerPart.of(self._folder, self._identity, number)
            found = {answer.key: answer for answer in part.answers(image)}
            if len(found) != draws:
                raise part.refusal("is corrupt or has changed since it was first read")
            answers |= found
        self._read[image] = answers
        if len(self._read) > KEPT_IMAGES:
            self._read.popitem(last=False)
        return answers

    def write(self, number: int, answers: Iterable[LoggedAnswer]) -> None:
        """Write the part of the journal `number`. It counts once it is adopted, when the journal has gone."""
        AnswerPart.of(self._folder, self._identity, number).write(answers)

    def adopt(self, number: int) -> None:
        """The answers of the part `number` are in no journal any more."""
        part = AnswerPart.of(self._folder, self._identity, number)
        self._add([(part, _columns(part))])

    def _numbers_of(self, image: str) -> list[tuple[int, int]]:
        """The parts that hold draws of an image, and how many."""
        code = self._codes[image]
        first, end = np.searchsorted(self._keys, [_packed(code, 0, 0), _packed(code + 1, 0, 0)])
        places, draws = np.unique(self._places[first:end], return_counts=True)
        return [(self._numbers[place], many) for place, many in zip(places.tolist(), draws.tolist(), strict=True)]

    def _add(self, loaded: Sequence[tuple[AnswerPart, "_Columns"]]) -> None:
        keys, places = [self._keys], [self._places]
        for part, columns in loaded:
            codes = [self._codes.setdefault(image, len(self._codes)) for image in columns.images]
            keys.append(_packed(np.asarray(codes, np.int64)[columns.which], columns.roles, columns.draws))
            places.append(np.full(len(columns.draws), len(self._numbers), np.int32))
            self._numbers.append(part.number)
            self.charges += columns.charges
            merge_versions(self.versions, columns.versions)
        if not loaded:
            return
        all_keys = np.concatenate(keys)
        order = np.argsort(all_keys, kind="stable")
        self._keys, self._places = all_keys[order], np.concatenate(places)[order]
        self._read.clear()
        if len(twice := np.flatnonzero(self._keys[1:] == self._keys[:-1])):
            number = self._numbers[int(self._places[twice[0] + 1])]
            part = AnswerPart.of(self._folder, self._identity, number)
            raise part.refusal("holds draws that another part holds too, as a copy would")


@dataclass(frozen=True)
class _Columns:
    """Of a part: its `images`, `which` of them each row is of, roles and draws; its cost, and the versions it names."""

    images: list[str]
    which: np.ndarray
    roles: np.ndarray
    draws: np.ndarray
    charges: Charges
    versions: dict[str, int]


def _columns(part: AnswerPart) -> _Columns:
    part.check()
    table = part.columns("image", "role", "draw", "price", "attempts", "version", "answered")
    images = table["image"].combine_chunks().dictionary_encode()
    roles, draws, prices, attempts = (table[name].to_numpy() for name in ("role", "draw", "price", "attempts"))
    names = images.dictionary.to_pylist()
    for problem, is_wrong in (
        ("images that are no digests", any(_DIGEST.fullmatch(name) is None for name in names)),
        ("unknown roles", np.any((roles < 0) | (roles >= len(Role)))),
        ("draws out of range", np.any((draws < 0) | (draws >= MOST_DRAWS))),
        ("negative prices", np.any((prices < 0) | (prices > MOST_PRICE) | (attempts < 0))),
    ):
        if is_wrong:
            raise part.refusal(f"has {problem}")
    paid = attempts > 0
    charges = Charges(int(paid.sum()), 0, int(prices[paid].sum()))
    first = table.set_column(6, "answered", table["answered"].cast("int64")).group_by("version")
    versions = {
        str(one["version"]): one["answered_min"] or 0
        for one in first.aggregate([("answered", "min")]).to_pylist()
        if one["version"] is not None
    }
    which = images.indices.to_numpy(zero_copy_only=False)
    return _Columns(names, which, roles.astype(np.int64), draws, charges, versions)


def merge_versions(into: dict[str, int], versions: Mapping[str, int]) -> None:
    """Keep the earlier time of each version."""
    for version, when in versions.items():
        into[version] = min(when, into.get(version, when))


def _packed(code: Any, role: Any, draw: Any) -> Any:
    """A key as one number, in the order of (image's code, role, draw)."""
    return (code * _ROLES + role) * MOST_DRAWS + draw
