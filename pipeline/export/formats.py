"""The formats of `raysmooth export`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from raysmooth.common.registry import Registry
from raysmooth.pipeline.export.card import cards_of
from raysmooth.pipeline.export.exported_run import ExportedRun
from raysmooth.pipeline.export.locuslab import locuslab_log
from raysmooth.pipeline.export.model_card import model_card
from raysmooth.pipeline.export.sok import board_radii, board_records


@dataclass(frozen=True)
class ExportEntry:
    """`render` makes the text from the runs, the words of `words` that the user gave, and the name of the file, None
    where it is printed. A format without `several` takes one run. `radii` are those of its results by default; None:
    those of tables, or no results at all.
    """

    summary: str
    render: Callable[[Sequence[ExportedRun], Mapping[str, str], str | None], str]
    words: tuple[str, ...] = ()
    several: bool = True
    takes_radii: bool = True
    radii: Callable[[Sequence[ExportedRun]], Sequence[float]] | None = None


EXPORTS: Registry[ExportEntry] = Registry(
    "export format",
    {
        "locuslab": ExportEntry(
            "the field's log, idx label predict radius correct time, of one run",
            lambda runs, words, out: locuslab_log(runs, out),
            several=False,
            takes_radii=False,
        ),
        "sok": ExportEntry(
            "records for the leaderboard sokcertifiedrobustness.github.io, in YAML",
            lambda runs, words, out: board_records(runs, **words),
            words=("title", "link", "venue"),
            radii=board_radii,
        ),
        "json": ExportEntry(
            "cards with results, intervals, settings and hashes",
            lambda runs, words, out: cards_of(runs, **words).model_dump_json(indent=2) + "\n",
            words=("name",),
        ),
        "model-card": ExportEntry(
            "README.md for the Hugging Face Hub, with model-index metadata",
            lambda runs, words, out: model_card(runs, **words),
            words=("name",),
        ),
    },
)
