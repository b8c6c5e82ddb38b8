"""Query logs for tests: identities without an API, and answers made from their keys."""

import hashlib
from pathlib import Path
from typing import Any

from raysmooth.actors.apis.answers import Tag
from raysmooth.actors.noise.role import Role
from raysmooth.actors.queries.draw_key import DrawKey
from raysmooth.actors.queries.events import Answered
from raysmooth.pipeline.queries.identity import QueryIdentity
from raysmooth.pipeline.queries.query_log import QueryLog, folder_name
from raysmooth.storage.location import located

IDENTITY = QueryIdentity({"scheme": 1, "api": {"api": "some"}, "noise": "gaussian", "sigma": 0.25})
OTHER_IDENTITY = QueryIdentity({"scheme": 1, "api": {"api": "some"}})


def image(number: int) -> str:
    """The digest of an image."""
    return hashlib.sha256(str(number).encode()).hexdigest()


def key(number: int, draw: int, role: Role = Role.ESTIMATION) -> DrawKey:
    return DrawKey(image(number), role, draw)


def answered(key: DrawKey, **other: Any) -> Answered:
    """An answer that is another one for each draw; every seventh draw is refused."""
    refused = "content filter" if key.draw % 7 == 6 else None
    tags = () if refused else (Tag(f"label {key.draw % 3}", 0.9, ("thing",)), Tag("é\n", 0.1))
    facts = {
        "tags": tags, "refused": refused, "version": "v1" if key.draw % 2 else None, "raw": f'{{"draw":{key.draw}}}',
        "attempts": 1 + key.draw % 2, "sent": 1.7e9 + key.draw / 3, "answered": 1.7e9 + key.draw / 3 + 0.1,
        "pixels": hashlib.sha256(repr(key).encode()).hexdigest(), "picture_bytes": 100 + key.draw, "seconds": 0.01,
    }  # fmt: skip
    return Answered(key, **{**facts, **other})


def log_in(out: Path | str, identity: QueryIdentity = IDENTITY) -> QueryLog:
    """The log of an identity below <out>/queries, without a lock."""
    return QueryLog(located(f"{out}/queries") / folder_name(identity.id), identity)
