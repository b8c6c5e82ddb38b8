"""Stages that take runs of other stages: levels of a search, certificates to recertify."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from raysmooth.common.errors import RaysmoothError
from raysmooth.tune.experiments.check import Inspector, refuse_impossible
from raysmooth.tune.experiments.plan import Plan, read_plan
from raysmooth.tune.experiments.smoke.smoke_plan import brief_search, smoke_plan

AT = {"classifier": "digits_cnn", "classifier_weights": "@net", "sigma": "{sigma}"}
CERTIFY = {**AT, "n0": 100, "n": 10_000, "alpha": 0.001}
SIGMAS: dict[str, list[Any]] = {"sigma": [0.25, 0.5, 1.0]}
STAGES: dict[str, Any] = {
    "net": {"train classifier": {"classifier": "digits_cnn", "objective": "gaussian", "sigma": 0.25,
                                 "data_dependent": "epochs-from=5,steps=2"}},
    "search": {"matrix": SIGMAS, "optimize-sigma": {**AT, "search": "ddrs:steps=900"}},
    "fixed": {"matrix": SIGMAS, "certify": CERTIFY},
    "own": {"matrix": {**SIGMAS, "K": [100, 900]},
            "certify": {**CERTIFY, "sigmas": "@search-{sigma}", "steps": "{K}"}},
    "envelope": {"recertify": {"envelope": ["@fixed-0.25", "@fixed-0.5", "@fixed-1"], "n": 1000}},
    "memory": {"matrix": {"sigma": [0.25, 0.5]}, "recertify": {"run": "@own-{sigma}-900", "memory": True}},
}  # fmt: skip


def plan_of(folder: Path, **changed: Any) -> Plan:
    file = folder / "own.yaml"
    experiment = {
        "title": "a title",
        "paper": {"source": "a paper", "claim": "a claim"},
        "differences": ["all"],
        "data": {"dataset": "digits"},
        "out": str(folder / "out"),
        "stages": {**STAGES, **changed},
    }
    file.write_text(yaml.safe_dump(experiment, sort_keys=False))
    return read_plan(file)


def test_stages_need_the_runs_that_they_take(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    refuse_impossible(plan, Inspector(), data=False)
    needs = {run.name: run.needs for run in plan.stage_runs}
    assert needs["own-0.5-900"] == ["net", "search-0.5"]
    assert needs["envelope"] == ["fixed-0.25", "fixed-0.5", "fixed-1"]
    assert needs["memory-0.25"] == ["own-0.25-900"]


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        ({"certify": {**CERTIFY, "sigma": 0.25, "sigmas": "@net"}}, "a train classifier makes no noise levels"),
        ({"certify": {**CERTIFY, "sigma": 0.25, "sigmas": "@fixed-0.25"}}, "a certify makes no noise levels"),
        ({"recertify": {"run": "@search-0.25", "memory": True}}, "an optimize-sigma makes no certificates"),
        ({"recertify": {"envelope": ["@envelope", "@fixed-0.5"]}}, "a recertify makes no certificates from draws"),
        ({"certify": {**CERTIFY, "sigma": 0.25, "classifier_weights": "@search-0.25"}}, "makes no weights"),
        ({"recertify": {"run": "@serach-0.25"}}, "which no stage makes: "),
    ],
)
def test_other_results_are_refused(tmp_path: Path, stage: dict[str, Any], words: str) -> None:
    with pytest.raises(RaysmoothError, match=words):
        plan_of(tmp_path, other=stage)


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        (
            {"run": "@fixed-0.25", "memory": True, "n": 1000},
            "memory keeps the certificates that runs have: leave n out",
        ),
        ({"run": "@fixed-0.25", "envelope": ["@fixed-0.25", "@fixed-0.5"]}, "envelope names its runs: leave run out"),
        ({"run": "@fixed-0.25"}, "recertify needs a change: write alpha: 0.01"),
        ({"memory": True}, "recertify changes the certificates of one stage: write run: @STAGE"),
        ({"run": "@fixed-0.25", "noise_bound": "runnerup"}, "unknown noise bound 'runnerup': did you mean"),
    ],
)
def test_recertifying_that_contradicts_itself_is_refused_before_the_first_stage(
    tmp_path: Path, stage: dict[str, Any], words: str
) -> None:
    with pytest.raises(RaysmoothError, match=f"^stage other: .*{words}"):
        refuse_impossible(plan_of(tmp_path, other={"recertify": stage}), Inspector(), data=False)


def test_a_smoke_test_has_brief_searches_and_fewer_runs(tmp_path: Path) -> None:
    runs = {run.name: run.values for run in smoke_plan(plan_of(tmp_path)).stage_runs}
    assert "fixed-1" not in runs
    assert runs["envelope"] == {"envelope": ["@fixed-0.25", "@fixed-0.5"]}
    assert "steps=200" in runs["search-0.25"]["search"]
    assert (runs["own-0.25-100"]["steps"], runs["own-0.25-900"]["steps"]) == (100, 200)
    assert runs["net"]["data_dependent"] == "epochs_from=0,steps=2"
    assert runs["net"]["epochs"] == 1


def test_brief_searches() -> None:
    assert brief_search("grid:levels=200,draws=1").startswith("grid:clamp=0.02,draws=1,levels=3")
    assert brief_search("selector:levels=0.25+0.5,bins=0.8") == (
        "selector:alpha=0.001,bins=0.8,levels=0.25+0.5,n=100,n0=10"
    )
    assert "steps=50" in brief_search("ddrs:steps=50")
