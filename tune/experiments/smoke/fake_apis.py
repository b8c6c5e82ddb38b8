"""Fake APIs in a smoke test: none but this machine is asked, and nothing is paid."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from raysmooth.actors.apis.apis import is_api, read_api
from raysmooth.tune.experiments.plan import ENDPOINT
from raysmooth.tune.experiments.references import Reference
from raysmooth.tune.experiments.stage_run import StageRun

SIDE = 32
"""Pixels of a side of the images that an API is asked about in a smoke test."""

_MONEY = ("budget", "max_queries", "price_per_1000", "concurrency")
_COMPUTE = ("block_size", "precision", "compile", "batch_size")
_NO_LIMIT = "100000/s"


def with_fake_api(run: StageRun) -> StageRun:
    """A stage run that asks a vision API, with small pictures and with the endpoint of a fake one, unless another stage
    serves it; any other stage run as it is.
    """
    classifier = run.values.get("classifier")
    if not (run.entry.samples and isinstance(classifier, str) and is_api(classifier)):
        return run
    values = {key: value for key, value in run.values.items() if key not in (*_MONEY, *_COMPUTE)}
    written, entry, _ = read_api(classifier)
    if Reference.read(values.get(ENDPOINT)) is None:
        values[ENDPOINT] = f"@{_server(written.name)}"
        values |= {"resize": SIDE, "crop": SIDE}
        if entry.least_side is not None and entry.least_side > SIDE:
            values["upscale"] = f"nearest:factor={-(-entry.least_side // SIDE)}"
    return replace(run, values={**values, "rate": _NO_LIMIT})


def fake_apis(runs: Sequence[StageRun]) -> Iterator[StageRun]:
    """Stage runs that serve the fake APIs which `runs` ask."""
    asked = {name for run in runs for key, name in run.uses if key == ENDPOINT}
    for name in sorted(asked - {run.name for run in runs}):
        yield StageRun((name,), "serve", {"api": name.removeprefix(_server(""))})


def _server(api: str) -> str:
    """The name of the stage that serves an API."""
    return f"fake-{api}"
