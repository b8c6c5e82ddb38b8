"""Experiments: how files are read, what is refused, which stages are run again."""

from dataclasses import replace
from functools import partial
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import yaml
from command import command
from digits_trainings import no_training, stopped_after

from raysmooth.actors.models.weights import read_weights
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.settings import checked
from raysmooth.pipeline.report.report import read_certificates
from raysmooth.tune.experiments.check import Inspector, refuse_impossible
from raysmooth.tune.experiments.experiment import ExperimentOutcome, run_experiment, stage_identity
from raysmooth.tune.experiments.plan import Plan, read_plan
from raysmooth.tune.experiments.report import report_experiment
from raysmooth.tune.experiments.results import Result
from raysmooth.tune.experiments.stage_kinds import STAGE_KINDS
from raysmooth.tune.experiments.weight_files import files_of
from raysmooth.tune.recipes.settings import TrainDenoiserSettings

TRAINING = {"sigma": 0.25, "threads": 1, "device": "cpu", "precision": "float32", "epochs": 1, "max": 60}
DENOISER = {**TRAINING, "denoiser": "dncnn:channels=1,depth=3,width=4"}
BEHIND = {"classifier": "digits_cnn", "classifier_weights": "@classifier"}
CERTIFY = {**BEHIND, "sigma": 0.25, "max": 2, "n0": 10, "n": 20, "batch_size": 16, "compile": "off", "replicas": 1}
BASE: dict[str, Any] = {
    "title": "A test",
    "paper": {"source": "Author 2020", "figure": 1, "claim": "All is well."},
    "differences": ["Everything."],
    "data": {"dataset": "digits"},
    "out": "out",
    "stages": {
        "classifier": {"train classifier": {**TRAINING, "classifier": "digits_cnn"}},
        "mse": {
            "matrix": {"sigma": [0.25, 0.5]},
            "train denoiser": {**DENOISER, "sigma": "{sigma}", "objective": "mse"},
        },
        "stab": {"train denoiser": {**DENOISER, **BEHIND, "objective": "stab+mse", "init_weights": "@mse-0.25"}},
    },
}
DENOISED = ("denoiser", "denoiser_weights")
CERTIFIED = {
    "alone": {"certify": CERTIFY},
    "denoised": {"certify": {**CERTIFY, "sigma": [0.25, 0.5], **dict.fromkeys(DENOISED, "@mse-{sigma}")}},
}
ALL = ["classifier", "mse-0.25", "mse-0.5", "stab"]


def write(folder: Path, content: dict[str, Any], name: str = "test") -> Path:
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    return file


def plan_of(folder: Path, stages: dict[str, Any] | None = None, **changes: Any) -> Plan:
    content = {**BASE, "out": str(folder / "out"), **changes}
    if stages is not None:
        content["stages"] = {**BASE["stages"], **stages}
    return read_plan(write(folder, content))


def run(plan: Plan, only: str | None = None) -> ExperimentOutcome:
    return run_experiment(plan, only, show=False)


class TestPlan:
    def test_stage_runs_by_hand(self, tmp_path: Path) -> None:
        plan = plan_of(tmp_path, CERTIFIED)
        runs = {run.name: run for run in plan.stage_runs}
        assert list(runs) == [*ALL, "alone", "denoised-0.25", "denoised-0.5", "report"]
        assert runs["mse-0.5"].names == ("mse", "mse-0.5")
        assert runs["mse-0.5"].values["sigma"] == 0.5
        assert runs["mse-0.5"].values["dataset"] == "digits"
        assert runs["stab"].needs == ["classifier", "mse-0.25"]
        assert runs["denoised-0.5"].values["denoiser_weights"] == "@mse-0.5"
        assert runs["denoised-0.5"].needs == ["classifier", "mse-0.5"]
        assert [run.name for run in plan.named("mse")] == ["mse-0.25", "mse-0.5"]

    def test_a_matrix_repeats_over_products_and_named_values(self, tmp_path: Path) -> None:
        methods = [{"name": "plain", "text": "gaussian"}, {"name": "more", "text": "macer"}]
        matrix = {"method": methods, "sigma": [0.25, 1.0]}
        training = {**TRAINING, "classifier": "digits_cnn", "sigma": "{sigma}", "objective": "{text}"}
        plan = plan_of(tmp_path, {"many": {"matrix": matrix, "train classifier": training}})
        many = {run.name: (run.values["objective"], run.values["sigma"]) for run in plan.named("many")}
        assert many == {
            "many-plain-0.25": ("gaussian", 0.25), "many-plain-1": ("gaussian", 1.0),
            "many-more-0.25": ("macer", 0.25), "many-more-1": ("macer", 1.0),
        }  # fmt: skip
        assert [run.name for run in plan.named("many-more")] == ["many-more-0.25", "many-more-1"]

    def test_noise_may_say_its_levels(self, tmp_path: Path) -> None:
        uniform = {key: value for key, value in CERTIFY.items() if key != "sigma"} | {"noise": "uniform:0.25,0.5"}
        runs = plan_of(tmp_path, {"flat": {"certify": uniform}}).named("flat")
        assert [run.values["noise"] for run in runs] == ["uniform", "uniform"]
        assert [run.values["sigma"] for run in runs] == pytest.approx([0.25 / 3**0.5, 0.5 / 3**0.5])

    def test_the_home_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        (run,) = plan_of(tmp_path, {"a": {"train denoiser": {**MSE, "init_weights": "~/w.safetensors"}}}).named("a")
        assert run.values["init_weights"] == f"{tmp_path}/w.safetensors"

    def test_stages_of_another_file(self, tmp_path: Path) -> None:
        other = {**BASE, "out": str(tmp_path / "out"), "stages": {**BASE["stages"], **CERTIFIED}}
        write(tmp_path, other, "other")
        include = {"other": {"classifier": None, "mse": {"sigma": [0.25, 1.0]}, "denoised": {"sigma": [1.0]}}}
        plan = read_plan(write(tmp_path, {**other, "include": include, "stages": {"end": {"report": None}}}))
        assert [run.name for run in plan.stage_runs] == ["classifier", "mse-0.25", "mse-1", "denoised-1", "end"]
        for wrong, message in (
            ({"other": ["mze"]}, "other has no stage 'mze': did you mean 'mse'"),
            ({"other": {"mse": {"rate": [1]}}}, "stage mse has no variable 'rate' in its matrix"),
            ({"elsewhere": ["mse"]}, "there is no experiment elsewhere"),
        ):
            with pytest.raises(RaysmoothError, match=message):
                read_plan(write(tmp_path, {**other, "include": wrong, "stages": {"end": {"report": None}}}))
        with pytest.raises(RaysmoothError, match="other has a different 'data' or 'out'"):
            read_plan(write(tmp_path, {**other, "out": "x", "include": {"other": ["mse"]}}))
        with pytest.raises(RaysmoothError, match="include: test includes this file itself"):
            read_plan(write(tmp_path, {**other, "include": {"test": ["mse"]}}))


MSE = {**DENOISER, "objective": "mse"}
SWEPT = {"denoiser": "dncnn:channels=1", "objective": "mse", "sigma": 0.25}
REJECTOR = {**TRAINING, **BEHIND, "rejector": "network:depth=10,width=2", "objective": "disagreement:T=2"}
NUMBERS = {"layout": "single", "radii": [0, 0.5], "rows": [{"row": "A", "acr": 0.5, "values": [90.0, 40.0]}]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"a": {"train denoizer": MSE}}, "stage a: unknown kind of stage 'train denoizer': did you mean"),
        ({"a": {"certify": CERTIFY, "predict": CERTIFY}}, "stage a: write one kind of"),
        ({"a": {"train denoiser": {**MSE, "init_weights": "@mze-0.25"}}}, "no stage makes: did you mean 'mse-0.25'"),
        ({"a": {"train denoiser": {**MSE, "init_weights": "@a"}}}, "comes after it: move it below stage a"),
        ({"a": {"certify": CERTIFY | {"classifier_weights": "@b"}}, "b": {"train denoiser": MSE}}, "@b, which comes"),
        ({"a": {"certify": CERTIFY}, "b": {"certify": CERTIFY | {"denoiser": "@a"}}}, "@a: a certify makes no weights"),
        ({"a": {"matrix": {"sigma": 1}, "train denoiser": MSE}}, "matrix: sigma: write its values as a list"),
        ({"a": {"train denoiser": {**MSE, "denoiser": "dncnn:depth={deep}"}}}, "unknown variable 'deep'"),
        ({"a": {"train denoiser": {**MSE, "out": "x"}}}, "out: the experiment sets this"),
        ({"mse-0.25": {"train denoiser": MSE}}, "there are two of the name mse-0.25"),
        ({"a": {"sweep": {"train": "denoiser", "settings": SWEPT, "certify": {"n": 10}}}}, "certify: write a stage"),
        ({"a": {"certify": {**CERTIFY, "noise": "uniform:0.5"}}}, "both give a level: write one of them"),
        ({"a b": {"train denoiser": MSE}}, "stage 'a b': write a name of letters"),
        ({"a": {"for": {"sigma": [1]}, "train denoiser": MSE}}, "a: unknown setting 'for': it is now called matrix"),
        ({"a": "certify"}, "stage a: expected 'KIND: settings', found 'certify'"),
        ({"a": {"matrix": {"m": [{"x": 1}]}, "train denoiser": MSE}}, "matrix: m: a value with variables needs a name"),
        ({"a": {"matrix": {k: list(range(101)) for k in "mn"}, "train denoiser": MSE}}, "matrix: 10,201 combinations"),
        ({"a": {"matrix": {"m": ["a b"]}, "train denoiser": MSE}}, "matrix: m: 'a b' becomes part of names"),
    ],
)  # fmt: skip
def test_wrong_stages_are_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(RaysmoothError, match=message) as refused:
        plan_of(tmp_path, changes)
    assert "test.yaml" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"paper": {"source": "N", "table": 3}}, "table 3 without its numbers"),
        ({"paper": {"source": "N", "figure": 3}}, "write 'claim:'"),
        ({"paper": {"source": "N", "table": 3, "numbers": {**NUMBERS, "layout": "rows"}}}, "unknown layout 'rows'"),
        ({"paper": {"source": "N", "table": 3, "numbers": {**NUMBERS, "radii": [0]}}}, "'A' has 2 values for 1 radii"),
        ({"paper": None}, "paper"),
        ({"titel": "x"}, "unknown setting 'titel': did you mean 'title'"),
        ({"data": {"dataset": "digits", "root": "x"}}, "data: unknown setting 'root'"),
        ({"data": {}}, "data: write which"),
        ({"differences": []}, "differences"),
        ({"use": {"other": ["mse"]}}, "unknown setting 'use': it is now called include"),
    ],
)  # fmt: skip
def test_wrong_files_are_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(RaysmoothError, match=message):
        plan_of(tmp_path, **changes)


def test_radii_of_one_report_are_of_one_norm(tmp_path: Path) -> None:
    linf = {"certify": {**CERTIFY, "norm": "linf"}}
    with pytest.raises(RaysmoothError, match=r"several norms \(l2, linf\), and a report's have one"):
        run(plan_of(tmp_path, {"a": {"certify": CERTIFY}, "b": linf}))


def test_files_that_settings_name(tmp_path: Path) -> None:
    values = {"sigma": [0.25, 1.0], "denoiser_weights": ["@mse-{sigma}", "a-{sigma}.pth,b.pth"], "max": 3}
    assert list(files_of(values)) == [
        ("denoiser_weights", "a-0.25.pth"), ("denoiser_weights", "a-1.pth"), ("denoiser_weights", "b.pth"),
    ]  # fmt: skip
    assert list(files_of({"search": {"surrogates": ["ours:4", "x.pth"]}})) == [
        ("surrogates", "ours"), ("surrogates", "x.pth"),
    ]  # fmt: skip


def test_surrogates_that_were_trained_again_decide(tmp_path: Path) -> None:
    (tmp_path / "ours" / "weights").mkdir(parents=True)
    member = tmp_path / "ours" / "weights" / "a.safetensors"
    stab = {**DENOISER, **BEHIND, "objective": "stab", "surrogates": f"{tmp_path}/ours:1"}
    plan = plan_of(tmp_path, {"black": {"train denoiser": stab}})
    (run_of_stab,), hashes = plan.named("black"), []
    for content in (b"one", b"one", b"another"):
        member.write_bytes(content)
        hashes.append(stage_identity(run_of_stab, {"classifier": Result("digest")}, Inspector()))
    assert hashes[0] == hashes[1] != hashes[2]


def test_defaults_decide(tmp_path: Path) -> None:
    plan, inspector = plan_of(tmp_path), Inspector()
    (run_of_mse,) = plan.named("mse-0.5")
    refuse_impossible(plan, inspector)
    assert inspector.defaults["mse-0.5"]["seed"] == 0
    before = stage_identity(run_of_mse, {}, inspector)
    inspector.defaults["mse-0.5"]["seed"] = 1
    assert stage_identity(run_of_mse, {}, inspector) != before


def test_an_optional_setting_that_is_new_leaves_finished_stages_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Later(TrainDenoiserSettings):
        new: float | None = None

    (run_of_mse,) = (plan := plan_of(tmp_path)).named("mse-0.5")
    identities = []
    for settings in (TrainDenoiserSettings, Later):
        entry = replace(STAGE_KINDS["train denoiser"], check=partial(checked, settings))
        monkeypatch.setattr("raysmooth.tune.experiments.stage_run.STAGE_KINDS", {**STAGE_KINDS, run_of_mse.kind: entry})
        refuse_impossible(plan, inspector := Inspector())
        assert None not in inspector.defaults["mse-0.5"].values()
        identities.append(stage_identity(run_of_mse, {}, inspector))
    assert identities[0] == identities[1]


def test_rows_of_the_paper_name_stages_that_certify(tmp_path: Path) -> None:
    row = {"row": "A", "ours": ["denoized"], "values": [90.0, 40.0], "acr": 0.5}
    with pytest.raises(RaysmoothError, match="row 'A': no stage 'denoized' certifies: did you mean 'denoised'"):
        plan_of(tmp_path, CERTIFIED, paper={"source": "N", "table": 3, "numbers": {**NUMBERS, "rows": [row]}})


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ({"train denoiser": {**MSE, "objective": "mze"}}, "unknown denoiser objective 'mze': did you mean 'mse'"),
        ({"train denoiser": {**MSE, "objective": "stab"}}, "objective 'stab' needs classifier"),
        ({"train denoiser": {**MSE, "denoiser": "dncnn:deep=3"}}, "has no option 'deep'"),
        ({"train denoiser": {**MSE, "learning": 3}}, "unknown setting 'learning'"),
        ({"train denoiser": {**MSE, "recipe": "digits-mze"}}, "unknown recipe"),
        ({"train denoiser": {**MSE, "init_weights": "missing.safetensors"}}, "missing.safetensors does not exist"),
        ({"train denoiser": {**MSE, "split": "all"}}, "digits has no split 'all'"),
        ({"certify": {**CERTIFY, "n": 5}}, "write n: 10 or more"),
        ({"certify": {**CERTIFY, "classifier": "digits_cnnn"}}, "unknown classifier 'digits_cnnn'"),
        ({"certify": {**CERTIFY, "denoiser": "@classifier"}}, "@classifier is not a denoiser"),
        ({"certify": {**CERTIFY, "rejector": "@classifier"}}, "@classifier is not a rejector"),
        ({"certify": {**CERTIFY, "rejector": "confidnce:threshold=0.5"}}, "unknown rejector 'confidnce': did you mean"),
        ({"train rejector": {**REJECTOR, "rejector": "margin:threshold=0.5"}}, "'margin' is a rule that needs no"),
        ({"train rejector": {**REJECTOR, "objective": "stab"}}, "unknown rejector objective 'stab'"),
        ({"sweep": {"train": "denoiser", "settings": SWEPT, "search": {"rates": [1]}}}, "unknown setting 'rates'"),
        ({"report": {"where": ["splitt=test"]}}, "where splitt: runs have no such column: did you mean 'split'"),
        ({"report": {"where": ["split"]}}, "where split: write COLUMN=VALUE, such as"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused_before_the_first_stage(
    stage: dict[str, Any], message: str, tmp_path: Path
) -> None:
    plan = plan_of(tmp_path, {"last": stage})
    with no_training(), pytest.raises(RaysmoothError, match=message) as refused:
        run(plan)
    assert str(refused.value).startswith("stage last")
    assert not (tmp_path / "out").exists()


def test_each_stage_is_done_once(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    assert run(plan).done_now == ALL
    with no_training():
        assert run(plan).done_now == []
        # Settings that do not affect results may change.
        training = {**TRAINING, "classifier": "digits_cnn", "device": "auto"}
        assert run(plan_of(tmp_path, {"classifier": {"train classifier": training}})).done_now == []


def test_deleted_results_are_made_again_and_what_depends_on_them(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    before = run(plan).results
    (tmp_path / "out" / "weights" / "classifier.safetensors").unlink()
    again = run(plan)
    # On a CPU training gives the same weights: the stages that use them stay done.
    assert again.done_now == ["classifier"]
    assert again.results == before
    # With other weights they do not.
    other = plan_of(tmp_path, {"classifier": {"train classifier": {**TRAINING, "classifier": "digits_cnn", "seed": 1}}})
    assert run(other).done_now == ["classifier", "stab"]
    # Weights of other origin are not accepted.
    weights = tmp_path / "out" / "weights"
    (weights / "mse-0.5.safetensors").write_bytes((weights / "mse-0.25.safetensors").read_bytes())
    assert run(other).done_now == ["mse-0.5"]
    assert read_weights(weights / "mse-0.5.safetensors").card["sigma"] == 0.5


def test_a_stopped_stage_resumes(tmp_path: Path) -> None:
    longer = {"classifier": {"train classifier": {**TRAINING, "classifier": "digits_cnn", "epochs": 3}}}
    plan = plan_of(tmp_path, longer)
    with stopped_after(2):
        run(plan)
    assert not (tmp_path / "out" / "weights" / "classifier.safetensors").exists()
    assert (tmp_path / "out" / "weights" / "classifier.training" / "state.pt").exists()
    assert run(plan).done_now == ALL


def test_one_stage_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = plan_of(tmp_path)
    with pytest.raises(
        RaysmoothError, match=r"stage stab needs classifier, which is not there.*: write --only classifier first"
    ):
        run(plan, "stab")
    with pytest.raises(RaysmoothError, match="unknown stage 'mze': did you mean 'mse'"):
        run(plan, "mze")
    assert run(plan, "mse").done_now == ["mse-0.25", "mse-0.5"]
    assert run(plan, "classifier").done_now == ["classifier"]
    assert run(plan, "stab").done_now == ["stab"]
    assert run(plan).done_now == []
    # The stage that it needs has other settings now.
    other = plan_of(tmp_path, {"classifier": {"train classifier": {**TRAINING, "classifier": "digits_cnn", "seed": 1}}})
    with pytest.raises(RaysmoothError, match="needs classifier, which is not there, or has other settings"):
        run(other, "stab")
    code, _, err = command(capsys, "run", str(tmp_path / "test.yaml"), "--only", "stap")
    assert (code, err.count("\n")) == (2, 1)
    assert "did you mean 'stab'" in err


def test_an_experiment_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = command(capsys, "run", "salman2020-tabel1")
    assert (code, err.count("\n")) == (2, 1)
    assert "there is no experiment salman2020-tabel1: did you mean 'salman2020-table1'" in err


def test_certificates_and_the_papers_numbers_beside_them(one_pool: None, tmp_path: Path) -> None:
    rows = [
        {"row": "Alone", "ours": ["alone"], "values": ["(49)32", "(12)4"]},
        {"row": "Behind one", "ours": ["denoised"], "values": ["(70)50", None]},
        {"row": "Theirs", "values": ["(80)60", "(60)40"]},
    ]
    numbers = {"layout": "envelope", "radii": [0.25, 0.5], "rows": rows, "lost": ["One number is lost."]}
    paper = {"source": "Author 2020", "table": 3, "numbers": numbers}
    # A second stage with the same run.
    again = {"certify": {**CERTIFY, "max_errors": 3}}
    plan = plan_of(tmp_path, {**CERTIFIED, "again": again}, paper=paper)
    with pytest.raises(RaysmoothError, match=r"nothing is certified in .*out yet"):
        report_experiment(plan, {})
    first = run(plan)
    assert first.done_now == [*ALL, "alone", "denoised-0.25", "denoised-0.5", "again"]
    assert first.results["again"].runs == first.results["alone"].runs
    rows_of = read_certificates(tmp_path / "out").groupby("run_id")["sigma"].first()
    assert sorted(rows_of) == [0.25, 0.25, 0.5]
    assert {run_id for name in ("alone", "denoised-0.5") for run_id in first.results[name].runs} <= set(rows_of.index)

    report = report_experiment(plan, run(plan, "report").results, "raysmooth run 'my test'")
    assert report is not None
    assert len(report.summary) == 3
    comparison = report.comparison
    assert comparison is not None
    assert list(comparison.columns) == ["model", "whose", "r=0.25", "r=0.5"]
    assert comparison.iloc[0].tolist() == ["Alone", "paper", "(49)32", "(12)4"]
    assert comparison.iloc[2].tolist() == ["Behind one", "paper", "(70)50", "-"]
    assert comparison.iloc[5].tolist() == ["Theirs", "ours", "-", "-"]
    page = (tmp_path / "out" / "report" / "test" / "report.md").read_text()
    for words in ("# A test (Author 2020, table 3)", "* Everything.", "* One number is lost.", "(49)32", "Behind one"):
        assert words in page
    html = unescape((tmp_path / "out" / "report" / "test" / "report.html").read_text())
    for words in ("A test (Author 2020, table 3)", "The paper's numbers beside ours", "(49)32", '<h2 id="table">',
                  "<li>Everything.</li>", "<li>One number is lost.</li>", "<code>raysmooth run"):  # fmt: skip
        assert words in html
    assert html.count("<pre><code>raysmooth certify ") == 3
    names = {file.name for file in report.files}
    assert {"table.tex", "table.csv", "side-by-side.csv", "curves.png", "curves-0.25.pdf", "curves-0.5.png"} <= names
    assert all(file.is_file() for file in report.files)

    stages = {
        **CERTIFIED,
        "again": {"certify": {**CERTIFY, "max_errors": 3}},
        "half": {"report": {"where": ["sigma=0.5"]}},
    }
    chosen = plan_of(tmp_path, stages, paper=paper)
    half = report_experiment(chosen, run(chosen, "half").results)
    assert half is not None
    assert half.rows["sigma"].unique().tolist() == [0.5]
    assert half.comparison is not None
    assert half.comparison.equals(comparison)

    # The certificates of one run are gone: it alone is certified again, to the same rows.
    (run_id,) = first.results["denoised-0.5"].runs
    for part in (tmp_path / "out" / "certificates" / f"run_id={run_id}").glob("*.parquet"):
        part.unlink()
    with no_training():
        again = run(plan)
    assert again.done_now == ["denoised-0.5"]
    assert again.results["denoised-0.5"].runs == first.results["denoised-0.5"].runs


def test_fractions_are_their_numbers_in_stages_and_short_in_names(tmp_path: Path) -> None:
    def runs(*levels: Any) -> dict[str, Any]:
        matrix = {"level": list(levels)}
        train = {**DENOISER, "sigma": "{level}", "objective": "mse", "learning_rate": "1/100"}
        certify = {**CERTIFY, "noise": "uniform:{level}", "classifier_weights": "1/2"}
        del certify["sigma"]
        stages = {
            "other": {"matrix": matrix, "train denoiser": train},
            "uniform": {"matrix": matrix, "certify": certify},
        }
        return {run.name: run.values for run in plan_of(tmp_path, stages).stage_runs}

    found = runs("1/4", "64/255")
    assert found["other-0.25098"]["sigma"] == 64 / 255
    assert found["other-0.25"]["learning_rate"] == 0.01
    assert found["uniform-0.25098"]["classifier_weights"] == "1/2"
    assert float(found["uniform-0.25098"]["noise"].removeprefix("uniform:")) == 64 / 255
    assert found == runs(0.25, 64 / 255)
