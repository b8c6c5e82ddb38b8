"""A search before a run, in one command: what the two share, and that its levels are then named in the settings."""

from pathlib import Path
from typing import Any

import pytest
from own_levels import searched
from search_rows import SELECTOR
from small_runs import certified

from raysmooth.common.settings import user_settings
from raysmooth.pipeline.drawing import searched_levels
from raysmooth.pipeline.drawing.finished_runs import Beforehand
from raysmooth.pipeline.drawing.searched_levels import search_settings, with_found_levels, with_known_levels
from raysmooth.pipeline.ray_cluster.one_ray import keep_ray, one_ray
from raysmooth.pipeline.runs.image_levels import TO_COME
from raysmooth.pipeline.runs.prepare import prepare
from raysmooth.pipeline.runs.procedures import PROCEDURES
from raysmooth.pipeline.runs.settings import CertifySettings

RUN: dict[str, Any] = {
    "dataset": "digits", "classifier": "base_classifiers:Linear", "sigma": [0.25, 0.5], "max": 3, "n0": 10, "n": 120,
    "alpha": 0.05, "seed": 7, "batch_size": 50, "precision": "float32", "max_errors": 2, "replicas": 1,
    "search": "ddrs:steps=250",
}  # fmt: skip


def asked(out: Path | str = "results", **changes: Any) -> CertifySettings:
    return user_settings(CertifySettings, {**RUN, "out": str(out), **changes})


def test_a_search_has_the_settings_of_its_run_but_its_own_batches_and_no_rejector() -> None:
    found = search_settings(asked(rejector="confidence:threshold=0.6", noise_bound="runner-up"))
    for name in ("dataset", "classifier", "sigma", "max", "seed", "max_errors", "replicas", "out", "noise", "search"):
        assert getattr(found, name) == getattr(asked(), name), name
    assert (found.batch_size, found.rejector) == (64, "none")
    assert found.trust_code
    assert search_settings(asked(noise="uniform:0.5", sigma=None)).sigma == asked(noise="uniform:0.5", sigma=None).sigma


def test_found_levels_are_named_in_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    def search(settings: Any, show: bool, before_torch: Any) -> list[str]:
        calls.append(settings)
        return ["ab" * 8, "cd" * 8]

    monkeypatch.setattr(searched_levels, "run_search", search)
    found = with_found_levels(asked(steps=200))
    assert (found.sigmas, found.search, found.steps) == (["ab" * 8, "cd" * 8], None, 200)
    assert len(calls) == 1
    known = asked(search=None, sigmas="ab,cd")
    assert with_found_levels(known) is known
    assert with_found_levels(asked(search=None)).sigmas is None
    assert len(calls) == 1


def test_levels_of_a_finished_search_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    for ids in (None, ["ab" * 8, "cd" * 8]):
        monkeypatch.setattr(searched_levels, "look_beforehand", lambda *_, ids=ids, **__: Beforehand(ids))
        found = with_known_levels(asked())
        assert (found.sigmas, found.search) == ((None, "ddrs:steps=250") if ids is None else (ids, None))


def test_a_run_whose_levels_are_to_come_is_like_no_other(tmp_path: Path) -> None:
    """In an estimate: it has other rows than a run at one level, and half of alpha after a certified search."""
    (run,) = prepare(PROCEDURES["certify"], asked(tmp_path, sigma=0.25))
    assert run.image_sigmas is not None
    assert (run.image_sigmas.run_id, run.image_sigmas.step, dict(run.image_sigmas.sigmas)) == (TO_COME, 250, {})
    assert run.facts["sigma_rule"].endswith("steps=250")
    assert run.rule.first == prepare(PROCEDURES["certify"], asked(tmp_path, sigma=0.25, search=None))[0].rule.first
    text = SELECTOR.replace("0.001", "0.05")
    (selected,) = prepare(PROCEDURES["certify"], asked(tmp_path, sigma=0.25, search=text))
    assert (selected.ruled_settings.alpha, selected.facts["alpha"]) == (0.025, 0.05)


def test_several_levels_have_a_search_each(tmp_path: Path) -> None:
    """Both searches in one folder, named in the order of --sigma."""
    settings = {name: RUN[name] for name in ("dataset", "classifier", "max", "n0", "n", "alpha")}
    ids = [
        searched(tmp_path, {**settings, "sigma": sigma}, dict.fromkeys(range(3), sigma / 4)) for sigma in (0.25, 0.5)
    ]
    runs = prepare(PROCEDURES["certify"], asked(tmp_path, search=None, sigmas=ids))
    assert [run.image_sigmas.run_id for run in runs if run.image_sigmas is not None] == ids
    assert [run.facts_of(0)["image_sigma"] for run in runs] == [0.0625, 0.125]
    assert certified(tmp_path, **settings, sigma=0.5, sigmas=ids[1])


class Kept:
    """A session that is only a word."""

    def __init__(self, log: list[str]) -> None:
        self.log = log
        log.append("begun")

    def close(self) -> None:
        self.log.append("closed")


def test_one_ray_begins_where_a_call_needs_it_and_ends_with_the_context() -> None:
    log: list[str] = []

    def begin() -> Any:
        return Kept(log)

    with one_ray():
        pass
    keep_ray(begin)
    assert log == []
    with one_ray():
        with one_ray():
            keep_ray(begin)
        assert log == ["begun"]
    assert log == ["begun", "closed"]


def test_one_ray_ends_with_an_interrupt() -> None:
    log: list[str] = []

    def begin() -> Any:
        return Kept(log)

    def interrupted() -> None:
        with one_ray():
            keep_ray(begin)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert log == ["begun", "closed"]
