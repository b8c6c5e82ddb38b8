"""Everything that is refused before any work: settings that cannot work, and results that cannot be written."""

from collections.abc import Sequence
from itertools import zip_longest

from raysmooth.pipeline.runs.base_run import AnyProcedure, BaseRun
from raysmooth.pipeline.runs.prepare import RunData, prepare
from raysmooth.pipeline.runs.settings import NoisySettings
from raysmooth.pipeline.store.earlier_runs import refuse_second_driver
from raysmooth.pipeline.store.part_store import refuse_unwritable
from raysmooth.pipeline.store.parts import refuse_foreign_parts
from raysmooth.storage.store_urls import is_url


def preflight(
    procedure: AnyProcedure,
    all_settings: Sequence[NoisySettings],
    dry: bool = False,
    opened: Sequence[RunData] = (),
    runs: Sequence[BaseRun] | None = None,
) -> list[BaseRun]:
    """The runs of `all_settings` in order, one for each sigma of each; `runs` if they are prepared already. `opened` is
    the data of the first of the settings, as far as it has been read. Raises RaysmoothError for every error that can be
    found before Ray starts.

    A `dry` run writes nothing, so `out` need not be writable. Otherwise object stores are tried first, since a wrong
    key shows within seconds; local folders come last, since trying creates them: a command that is refused for another
    reason leaves no folder behind.
    """
    outs = list(dict.fromkeys(settings.out for settings in all_settings))
    written = [] if dry else outs
    for out in filter(is_url, written):
        refuse_unwritable(out)
    if runs is None:
        pairs = zip_longest(all_settings, opened)
        runs = [run for settings, data in pairs for run in prepare(procedure, settings, data)]
    for run in () if dry else runs:
        if not is_url(
            run.settings.out
        ):  # a lease in an object store takes time to judge: that is left to the run's lock
            refuse_second_driver(run.settings.out, run.known_identity, run.settings)
    for out in written:
        if not is_url(out):
            refuse_unwritable(out)
    for out in outs:
        refuse_foreign_parts(out, procedure.folder)
    return list(runs)
