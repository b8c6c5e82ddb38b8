"""Command lines that cannot be parsed: refused in one line, like everything else."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from raysmooth.common.errors import RaysmoothError, printable

_UsageError: Any = typer.BadParameter.__base__
"""Click's class, or that of the copy of Click in newer versions of Typer."""


class RefusingGroup(TyperGroup):
    """A group whose usage errors are RaysmoothErrors: Typer's own print what was written as it is, at any length."""

    _words: Sequence[str] = ()

    def make_context(self, info_name: str | None, args: list[str], *more: Any, **extra: Any) -> Any:
        self._words = tuple(args)
        with self._refused():
            return super().make_context(info_name, args, *more, **extra)

    def invoke(self, ctx: Any) -> Any:
        with self._refused():  # what follows a command's name is parsed here
            return super().invoke(ctx)

    @contextmanager
    def _refused(self) -> Iterator[None]:
        try:
            yield
        except _UsageError as error:
            if type(error).__name__ == "NoArgsIsHelpError":  # it has printed the help
                raise
            self._refuse(error.format_message())

    def _refuse(self, message: str) -> NoReturn:
        for word in _parts(self._words):
            message = message.replace(word, printable(word))
        message = f"{message[:1].lower()}{message[1:].rstrip('.')}".replace(". Did you mean", ": did you mean")
        command: list[str] = []
        group: Any = self
        for word in self._words:
            if (group := getattr(group, "commands", {}).get(word)) is None:
                break
            command.append(word)
        where = f"{' '.join(command)}: " if command else ""
        see = " See" if message.endswith("?") else "; see"
        raise RaysmoothError(f"{where}{message}{see} {' '.join(['raysmooth', *command])} --help") from None


def _parts(words: Sequence[str]) -> list[str]:
    """What of `words` cannot be printed as it is; the longest first, since one may contain another."""
    parts = {part for word in words for part in (word, *word.partition("=")[::2]) if part}
    return sorted((part for part in parts if part != printable(part)), key=len, reverse=True)
