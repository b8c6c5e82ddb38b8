"""No credential in what an API says: its texts become messages, log entries and labels, and a server, or what stands in
front of it, may repeat what it was sent.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from urllib.parse import quote

from raysmooth.actors.apis.answers import Answer, Picture, Tag
from raysmooth.actors.apis.client import Client
from raysmooth.actors.apis.failures import AdapterFault, ApiFailure, PictureRefused, Throttled, Transient
from raysmooth.common.errors import one_line

REDACTED = "***"

LEAST = 6
"""Characters of a credential, or of what a text that was cut has of one, that are looked for: fewer are in any text."""

CUT = "..."
"""What stands where messages are cut."""

_BEARER = re.compile(r"(?i)\b(bearer )[A-Za-z0-9._~+/-]{16,}=*")
"""Tokens that a client fetches by itself, from a machine's role or a sign-in."""


class Redaction:
    """Takes `secrets` out of texts, also as they stand in a URL or in JSON."""

    def __init__(self, secrets: Iterable[str]) -> None:
        known = sorted({secret for secret in secrets if len(secret) >= LEAST}, key=len, reverse=True)
        self._whole = re.compile("|".join(map(_written, known))) if known else None
        self._forms = [form for secret in known for form in dict.fromkeys([secret, quote(secret), quote(secret, "")])]

    def out_of_label(self, text: str) -> str:
        """A text that is whole, and may be anything."""
        return text if self._whole is None else self._whole.sub(REDACTED, text)

    def out_of(self, text: str) -> str:
        """A message, or an answer for the log; either may have been cut in the middle of a secret."""
        text = _BEARER.sub(rf"\1{REDACTED}", self.out_of_label(text))
        whole = text.rstrip('"')  # of an answer that is no JSON the log has the beginning, as a JSON string
        pieces = whole.split(CUT)
        for place in range(len(pieces)):
            for form in self._forms:
                pieces[place] = _without_beginning(pieces[place], form)
                if place:
                    pieces[place] = _without_end(pieces[place], form)
        return CUT.join(pieces) + text[len(whole) :]


def _written(secret: str) -> str:
    """A pattern for a secret as it is, in a URL or in JSON, whichever of its characters these escape."""
    return "".join(
        letter if letter.isalnum() else rf"(?:\\?{re.escape(letter)}|(?i:%{ord(letter):02x}))" for letter in secret
    )


def _without_beginning(piece: str, secret: str) -> str:
    """`piece`, at whose end a secret may begin."""
    for size in range(min(len(piece), len(secret) - 1), LEAST - 1, -1):
        if piece.endswith(secret[:size]):
            return piece[:-size] + REDACTED
    return piece


def _without_end(piece: str, secret: str) -> str:
    """`piece`, at whose beginning a secret may end."""
    for size in range(min(len(piece), len(secret) - 1), LEAST - 1, -1):
        if piece.startswith(secret[-size:]):
            return REDACTED + piece[size:]
    return piece


class RedactingClient:
    """A client whose answers and failures have none of its credentials."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._known: Collection[str] = ()
        self._redaction = Redaction(())

    async def classify(self, pictures: Sequence[Picture]) -> list[Answer | PictureRefused]:
        """As of the client. Raises AdapterFault for any error that is not one of its failures."""
        try:
            answers = await self._client.classify(pictures)
        except (Throttled, Transient, ApiFailure) as failure:
            failure.args = (self._now().out_of(str(failure)),)
            raise
        except TimeoutError:
            raise
        except Exception as error:  # its words may be anything
            raise AdapterFault(self._now().out_of(f"{type(error).__name__}: {one_line(error)}")) from None
        return [self._shown(answer) for answer in answers]

    async def close(self) -> None:
        await self._client.close()

    def _now(self) -> Redaction:
        """Credentials of a role change from time to time."""
        if (secrets := tuple(self._client.secrets)) != self._known:
            self._known, self._redaction = secrets, Redaction(secrets)
        return self._redaction

    def _shown(self, answer: Answer | PictureRefused) -> Answer | PictureRefused:
        redaction = self._now()
        version = None if answer.version is None else redaction.out_of_label(answer.version)
        if isinstance(answer, PictureRefused):
            return PictureRefused(redaction.out_of(str(answer)), redaction.out_of(answer.raw), version)
        tags = tuple(
            Tag(redaction.out_of_label(tag.name), tag.score, tuple(redaction.out_of_label(one) for one in tag.parents))
            for tag in answer.tags
        )
        return replace(answer, tags=tags, version=version, raw=redaction.out_of(answer.raw))
