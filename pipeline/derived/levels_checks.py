"""Which runs can be joined into one, and with which changes."""

from collections.abc import Sequence

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.certification.certificate import RUNNER_UP
from raysmooth.pipeline.derived.changes import Changes
from raysmooth.pipeline.derived.source_runs import SourceRun

SHARED = {
    "data_fingerprint": "other images or labels",
    "index_set": "other images",
    "dataset": "another data set",
    "split": "another split",
    "noise": "another noise family",
}
"""Keys of the identity that all runs have in common, and what a run with another value has."""


def refuse_unlike(sources: Sequence[SourceRun], flag: str) -> None:
    """Raises RaysmoothError for fewer than two runs, for runs of different images, noise families or classes, and for
    those whose draws give no bound at one noise level. `flag` joins them.
    """
    if len(sources) < 2:
        raise RaysmoothError(f"{flag} joins runs that differ in sigma: name two or more, such as RUN,RUN")
    first = sources[0]
    for source in sources:
        run = f"run {source.run_id}"
        if source.identity.get("sigma_rule") is not None:
            raise RaysmoothError(
                f"{flag}: {run} has a sigma of its own for each image, which is no level of one classifier: choose "
                "runs with one --sigma each"
            )
        if source.sampling_method == "decide":
            raise RaysmoothError(
                f"{flag}: {run} has sampling {source.identity['sampling']}, and its draws bound no probability: choose "
                "other runs"
            )
        for name, what in SHARED.items():
            if (own := source.identity.get(name)) != (other := first.identity.get(name)):
                shown = "" if name == "data_fingerprint" else f" ({own}, not {other})"
                raise RaysmoothError(
                    f"{flag}: {run} has {what} than run {first.run_id}{shown}: choose runs of the same images and noise"
                )
        if (own := source.manifest["num_classes"]) != (other := first.manifest["num_classes"]):
            raise RaysmoothError(
                f"{flag}: {run} has {own} classes, and run {first.run_id} has {other}: choose runs of the same classes"
            )


def refuse_changes(sources: Sequence[SourceRun], changes: Changes, flag: str, worst: bool) -> None:
    """Raises RaysmoothError for changes that joined runs do not have, and where the runs differ in what has to be one
    and no change says it. `worst` is for the worst of the levels.
    """
    if changes.rejection is not None:
        raise RaysmoothError(f"{flag} keeps the rejectors of its runs: leave --rejection out")
    if not worst and (changes.noise_bound not in (None, RUNNER_UP) or changes.alpha_share is not None):
        name = "noise-bound" if changes.alpha_share is None else "alpha-share"
        raise RaysmoothError(
            f"--{name}: an envelope bounds the likeliest other class at each level, with half of its alpha: leave "
            f"--{name} out"
        )
    for name in ("norm", "alpha"):
        values = list(dict.fromkeys(source.identity[name] for source in sources))
        asked = changes.familywise if name == "alpha" and changes.familywise is not None else vars(changes)[name]
        if asked is None and len(values) > 1:
            raise RaysmoothError(
                f"{flag}: the runs differ in {name} ({', '.join(map(str, values))}): write --{name} {values[0]}"
            )
