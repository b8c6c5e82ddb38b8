"""The query log: every answer of one query identity, on disk before it counts, so that no draw is paid for twice.

<out>/queries/identity=<id>/manifest.json, journal.jsonl, part-*.parquet

Answers, and requests before they are sent, go to the journal at each commit. From time to time the journal's answers
become a part, and a new journal begins, with the next number. A process that is killed between the two leaves a part
that the journal still has: it is ignored, and written again. One process at a time writes a log.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from raysmooth.actors.noise.role import Role
from raysmooth.actors.queries.draw_key import DrawKey
from raysmooth.actors.queries.events import Answered
from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.queries import journal_records as records
from raysmooth.pipeline.queries.answer_parts import JOURNAL, MANIFEST, AnswerParts, LaterPart, merge_versions
from raysmooth.pipeline.queries.charges import Charges, SentQueries
from raysmooth.pipeline.queries.frames import Frames
from raysmooth.pipeline.queries.identity import QueryIdentity
from raysmooth.pipeline.queries.journal import Journal, read_journal, sync_folder
from raysmooth.pipeline.queries.logged_answer import LoggedAnswer
from raysmooth.pipeline.store.part_store import full_is_refused
from raysmooth.pipeline.store.parts import sweep_unfinished
from raysmooth.storage.location import Location
from raysmooth.storage.object_store import notify
from raysmooth.storage.records import BadRecord, Record, read_record, shown_path

LOCAL_JOURNAL, UPLOADED_JOURNAL = 2**22, 2**20
"""Bytes after which a journal becomes a part. In an object store each commit uploads all of it."""

RELOADS = 3
"""How often a log is read that its writer changes meanwhile."""


class LoggedAnswers:
    """A query log as it is on disk; nothing is written. `folder` is <out>/queries/identity=<id>.

    Raises RaysmoothError, naming the file, for one that is corrupt or of another log.
    """

    def __init__(self, folder: Location, identity: str) -> None:
        self.folder, self._id = folder, identity
        self._found: Frames | None = None
        for attempt in range(RELOADS):
            try:
                self._load()
                return
            except LaterPart:  # its writer has made parts since the journal was read
                if attempt == RELOADS - 1:
                    raise

    def _load(self) -> None:
        folder, identity = self.folder, self._id
        self._sent, self._fresh = SentQueries(), dict[DrawKey, LoggedAnswer]()
        """Requests without an answer, and the answers that are in no part yet."""
        self._paid = Charges()
        self._found = read_journal(folder / JOURNAL)
        self._number = self._replay(self._found.payloads) if self._found is not None else None
        self._parts = AnswerParts(folder, identity, self._number)
        for key in self._fresh:
            if key in self._parts:
                raise RaysmoothError(
                    f"{folder / JOURNAL} has an answer that a part has too, as a copy would: move one of them away and "
                    "run the command again"
                )

    def answer(self, key: DrawKey) -> LoggedAnswer | None:
        """The answer to a draw; None if there is none."""
        return self._fresh.get(key) or self._parts.of_image(key.image).get(key)

    def answers(self, image: str, role: Role) -> dict[int, LoggedAnswer]:
        """The answers to the draws of an image in one role, by the draws' numbers, in their order."""
        found = {**self._parts.of_image(image), **{key: one for key, one in self._fresh.items() if key.image == image}}
        return {key.draw: found[key] for key in sorted(found) if key.role == role}

    def missing(self, image: str, role: Role, draws: Sequence[int]) -> list[int]:
        """Which of the draws of an image have no answer. Reads no file."""
        left = self._parts.missing(image, role, draws)
        return [draw for draw in left if DrawKey(image, role, draw) not in self._fresh]

    def images(self) -> list[str]:
        """The digests of all images with answers, in their order."""
        return sorted({*self._parts.images(), *(key.image for key in self._fresh)})

    @property
    def charges(self) -> Charges:
        """What its queries have cost. Those in flight count as paid for, without an answer."""
        return self._parts.charges + self._paid + self._sent.charges

    @property
    def versions(self) -> list[str]:
        """The versions of the model that the answers name, the one that answered first before the others."""
        found = dict(self._parts.versions)
        for one in self._fresh.values():
            if one.version is not None:
                merge_versions(found, {one.version: one.answered or 0})
        return sorted(found, key=lambda version: (found[version], version))

    def _replay(self, payloads: Sequence[bytes]) -> int:
        """Read a journal; returns its number."""
        file = shown_path(self.folder / JOURNAL)
        found = [records.read_journal_record(one, f"{file}, line {line}") for line, one in enumerate(payloads, 1)]
        first = found[0] if found else None
        if not isinstance(first, records.HeadRecord):
            raise BadRecord(f"{file} begins with no head: restore it, or move it away and run the command again")
        if first.identity != self._id:
            raise BadRecord(f"{file} is of the identity {first.identity}: move it out of that folder")
        self._sent = first.left
        for record in found[1:]:
            self._take(record, file)
        return first.number

    def _take(self, record: records.JournalRecord, file: str) -> None:
        match record:
            case records.SessionRecord():
                self._sent.lose_all()
            case records.SentRecord():
                self._sent.send(record.all_keys, record.price)
            case records.AbandonedRecord():
                try:
                    self._sent.abandon(record.all_keys)
                except KeyError:
                    raise BadRecord(f"{file} abandons a draw that was not sent: restore it, or move it away") from None
            case records.WastedRecord():
                self._sent.waste(record.key, record.price)
            case records.AnswerRecord():
                answer = record.answer
                if answer.key in self._fresh:
                    raise BadRecord(f"{file} has two answers to a draw: restore it, or move it away")
                self._keep(answer)
            case records.HeadRecord():
                raise BadRecord(f"{file} has a second head: restore it, or move it away")

    def _keep(self, answer: LoggedAnswer) -> None:
        self._sent.settle(answer.key)
        self._fresh[answer.key] = answer
        if answer.is_paid:
            self._paid += Charges(1, 0, answer.price)


class QueryLog(LoggedAnswers):
    """The log of an identity, created if there is none, for the one process that writes it; a context, which is
    committed and made a part at its end. `verify` is asked before each commit, and raises RaysmoothError if another
    process writes now.

    What was in flight when a process was killed has no answer, was perhaps paid for, and counts in `charges`.
    """

    def __init__(self, folder: Location, identity: QueryIdentity, verify: Callable[[], object] = lambda: None) -> None:
        assert folder.name == folder_name(identity.id), f"{folder} is of another identity"
        self.identity, self._verify = identity, verify
        with full_is_refused(folder):
            folder.make_folder()
        _settle_manifest(folder, identity)
        sweep_unfinished(folder)
        super().__init__(folder, identity.id)
        self._journal = Journal(folder / JOURNAL)
        self._limit = LOCAL_JOURNAL if folder.is_local else UPLOADED_JOURNAL
        self._sent.lose_all()
        if gaps := self._parts.gaps:
            notify(f"{folder} lacks part {gaps[0]}: its answers are asked for again, and its cost is in no budget")
        if self._found is None:
            self._number = self._parts.next_number
            if self._number:
                notify(f"{folder / JOURNAL} is gone: queries that were in flight at a kill are not in the budget")
            self._journal.begin([records.head(self._id, self._number, self._sent)])
        else:
            self._journal.resume(self._found)
            self._record(records.session())
            self._found = None

    def intend(self, keys: Iterable[DrawKey], price: int = 0) -> None:
        """These draws are about to be sent, each once, for `price` (billionths of a dollar): from the next commit on a
        kill leaves them charged. Again for a request that is repeated although the one before may have been billed.
        """
        if keys := list(keys):
            self._record(records.sent(keys, price))
            self._sent.send(keys, price)

    def abandon(self, keys: Iterable[DrawKey]) -> None:
        """One request of each of these draws is known not to have been billed: it is not charged any more."""
        if keys := list(keys):
            self._sent.abandon(keys)
            self._record(records.abandoned(keys))

    def add(self, event: Answered, price: int = 0, image_id: int | None = None) -> bool:
        """A draw has its final answer, for `price` (billionths of a dollar). False where it has one already: the first
        answer stays, and the second is only paid for.
        """
        return self.add_answer(LoggedAnswer.of(event, price, image_id))

    def add_answer(self, answer: LoggedAnswer) -> bool:
        """As `add`, of an answer that may be someone else's."""
        if answer.key in self._fresh or answer.key in self._parts:
            if answer.is_paid:
                self._sent.waste(answer.key, answer.price)
                self._record(records.wasted(answer.key, answer.price))
            return False
        self._record(records.answered(answer))
        self._keep(answer)
        return True

    def commit(self) -> None:
        """All that was added is on the disk, or in the store, when this returns. Raises RaysmoothError if it cannot be,
        or if another process has taken over.
        """
        if not self._journal.is_waiting:
            return
        self._verify()
        self._journal.commit()
        if self._journal.size > self._limit:
            self._make_part()

    def close(self) -> None:
        """Commit, and make the journal's answers a part."""
        try:
            self.commit()
            if self._fresh:
                self._make_part()
        finally:
            self._journal.close()

    def __enter__(self) -> "QueryLog":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _record(self, payload: bytes) -> None:
        """To the journal with it, if it can be read again: a record that cannot would make all others worthless."""
        records.read_journal_record(payload, "a record of queries")
        self._journal.add(payload)

    def _make_part(self) -> None:
        """The committed answers of the journal become a part, and the next journal begins."""
        assert self._number is not None
        self._verify()
        answers, number = self._fresh, self._number
        if answers:
            with full_is_refused(self.folder):
                self._parts.write(number, answers.values())
                if self.folder.is_local:
                    sync_folder(self.folder.local)
        following = number + bool(answers)
        self._journal.begin([records.head(self._id, following, self._sent)])
        self._number, self._fresh, self._paid = following, {}, Charges()
        if answers:
            self._parts.adopt(number)


class _StoredManifest(Record):
    """manifest.json of a query log."""

    query_identity: dict[str, Any]


def read_identity(folder: Location) -> QueryIdentity:
    """What the queries in <out>/queries/identity=<id> are. Raises BadRecord for a folder without a manifest, and for
    one whose manifest is not of its name.
    """
    file = folder / MANIFEST
    try:
        identity = QueryIdentity(read_record(_StoredManifest, file).query_identity)
    except FileNotFoundError:
        raise BadRecord(f"{shown_path(file)} is missing: restore it, or move its folder away") from None
    if folder.name != folder_name(identity.id):
        raise BadRecord(f"{shown_path(file)} is of other queries than its folder says: move the folder away")
    return identity


def _settle_manifest(folder: Location, identity: QueryIdentity) -> None:
    """Write the manifest, if there is none. Raises BadRecord for another one."""
    file = folder / MANIFEST
    if file.exists():
        read_identity(folder)
        return
    with full_is_refused(folder):
        file.write_atomic((json.dumps({"query_identity": dict(identity.facts)}, indent=2) + "\n").encode())


def folder_name(identity: str) -> str:
    """The folder of a log in <out>/queries."""
    return f"identity={identity}"
