"""From stored certificates to a text in one of the formats of `EXPORTS`."""

from collections.abc import Sequence

from raysmooth.common.errors import RaysmoothError, nearest
from raysmooth.pipeline.export.exported_run import exported_runs
from raysmooth.pipeline.export.formats import EXPORTS
from raysmooth.storage.location import Where
from raysmooth.storage.output_file import write_output


def export(
    results: Where,
    format: str,
    runs: Sequence[str] | None = None,
    radii: Sequence[float] | None = None,
    out: str | None = None,
    **words: str | None,
) -> str:
    """The text of the runs in `results` whose ids begin as in `runs`, by default of all, in the `format`, an entry of
    EXPORTS. With `out` it is also written there, atomically. `radii` are those of its results; `words` are the `name`
    of a model, or the `title`, `link` and `venue` of a publication.

    Raises RaysmoothError for an unknown format, what a format does not take, and runs that it cannot state.
    """
    entry = EXPORTS[format]
    given = {name: value for name, value in words.items() if value is not None}
    for name in given:
        if name not in entry.words:
            owners = [other for other, one in EXPORTS.items() if name in one.words]
            raise RaysmoothError(f"--{name} belongs to --format {' or '.join(owners)}: leave it out")
    if radii is not None and not entry.takes_radii:
        raise RaysmoothError(f"--radii: --format {format} has each image's own radius: leave it out")
    found = exported_runs(results, runs, radii)
    if not entry.several and len(found) > 1:
        ids = [run.run_id for run in found]
        raise RaysmoothError(f"--format {format} takes one run: write --run {ids[0]}, say ({nearest('', ids)})")
    if radii is None and entry.radii is not None:
        found = exported_runs(results, [run.run_id for run in found], entry.radii(found))
    text = entry.render(found, given, out)
    if out is not None:
        write_output(text, out, "--out")
    return text
