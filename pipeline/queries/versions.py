"""Whether answers are of one and the same model, as far as they name it: a certificate is about one function."""

from collections.abc import Iterable

from raysmooth.common.errors import RaysmoothError, printable
from raysmooth.pipeline.queries.query_log import LoggedAnswers

INSTEAD = "certificates are about one model. Name a fixed version with --classifier, or begin again with another --out"


def one_version(logs: Iterable[LoggedAnswers], api: str, before: str | None = None) -> str | None:
    """The version of the model behind all answers in `logs`, which go together, and behind others, `before`; None where
    none is named. Raises RaysmoothError, naming two of them, where there are several.
    """
    for log in logs:
        for version in log.versions:
            if before not in (None, version):
                raise RaysmoothError(
                    f"the answers in {log.folder} are of several versions of the model behind {api}, or of another "
                    f"than those it goes with, {printable(str(before))} and {printable(version)}: {INSTEAD}"
                )
            before = version
    return before
