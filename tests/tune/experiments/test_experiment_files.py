"""Every file in experiments/: it is valid, carries the paper's numbers or claim, and passes its smoke test."""

import json
import math
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import yaml
from command import command
from conftest import REPOSITORY
from sweeps import run_here

from raysmooth.actors.apis.apis import is_api
from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.data.datasets import DATASETS, open_dataset
from raysmooth.pipeline.data.index_set import IndexSet
from raysmooth.tune.experiments.check import Inspector, refuse_impossible
from raysmooth.tune.experiments.plan import read_plan
from raysmooth.tune.experiments.report import SMOKE
from raysmooth.tune.experiments.settings import PaperSettings
from raysmooth.tune.experiments.smoke.smoke_plan import FOLDER, smoke_plan
from raysmooth.tune.sweeps import sweep
from raysmooth.tune.training.training_data import held_out_ids

pytestmark = pytest.mark.timeout(1800)  # on a busy machine Ray alone takes minutes to start a process

FILES = sorted((REPOSITORY / "experiments").glob("*.yaml"))
TABLES = {
    "salman2020-table1": ("1 and 5", 4, 6), "salman2020-table6": ("6", 4, 6), "salman2020-table7": ("7", 4, 6),
    "salman2020-table8": ("2 and 8", 4, 6), "jeong2020-table2": ("2", 18, 11), "jeong2020-table3": ("3", 18, 0),
    "jeong2020-table4": ("4", 9, 11), "jeong2020-table5": ("5", 9, 11), "jeong2020-table6": ("6", 9, 8),
    "jeong2020-table7": ("7", 15, 10),
}  # fmt: skip
"""The tables: number in the paper, rows and radii."""

FIGURES = {str(number) for number in range(2, 32) if number != 5}
"""All but the first, a sketch, and the fifth, single images."""

INSPECTOR = Inspector()


plan_of = cache(read_plan)


def paper_of(file: Path) -> PaperSettings:
    settings = plan_of(file).settings
    assert settings is not None
    return settings.paper


@pytest.fixture
def trials_here(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all files with sweeps, only one runs Ray Tune itself."""
    if "digits-sweep" not in request.node.name:
        monkeypatch.setattr(sweep, "run_trials", run_here)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all files, since some share stages."""
    return tmp_path_factory.mktemp("experiments")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_its_stages_can_be_run(file: Path) -> None:
    plan = read_plan(file)
    refuse_impossible(plan, INSPECTOR, data=False)  # settings, objectives, recipes, networks
    data = [{**run.values, **(run.values.get("settings") or {})}.get("dataset") for run in plan.stage_runs]
    assert {name for name in data if name is not None} <= set(DATASETS)
    assert any(data)


@pytest.mark.parametrize("name", TABLES)
def test_tables_carry_the_papers_numbers(name: str) -> None:
    paper = paper_of(REPOSITORY / "experiments" / f"{name}.yaml")
    numbers, (table, rows, radii) = paper.numbers, TABLES[name]
    assert numbers is not None
    assert (paper.table, len(numbers.rows), len(numbers.radii)) == (table, rows, radii)
    for row in numbers.rows:
        assert row.ours
        values = [value for value in row.values if value is not None]
        assert values or row.acr is not None
        if numbers.layout == "single":  # certified accuracy falls with the radius
            falling = [float(value) for value in values]
            assert falling == sorted(falling, reverse=True)
            assert all(0 <= value <= 100 for value in falling)
            assert isinstance(row.acr, float)
            assert 0 < row.acr < 2
        # Unreadable numbers are listed.
        assert numbers.lost or None not in [*row.values]


def test_acrs_of_the_tables_agree_with_their_certified_accuracies() -> None:
    """The ACR is the area below the curve, which the columns bound from below and, where they reach its end, above."""
    for name, (_, _, radii) in TABLES.items():
        numbers = paper_of(REPOSITORY / "experiments" / f"{name}.yaml").numbers
        assert numbers is not None
        for row in numbers.rows if radii and numbers.layout == "single" else []:
            if None in row.values:
                continue
            values, step = [float(value) / 100 for value in row.values], numbers.radii[1]
            assert isinstance(row.acr, float)
            assert step * sum(values[1:]) <= row.acr + 0.001
            if values[-1] == 0:
                assert row.acr <= step * sum(values[:-1]) + 0.001


def test_all_tables_and_figures_are_there() -> None:
    papers = [paper_of(file) for file in FILES if plan_of(file).settings is not None]
    for source, expected in (("Salman", FIGURES), ("Sheikholeslami", {*"456789"})):
        own = [paper for paper in papers if paper.source.startswith(source)]
        words = " ".join(paper.figure or "" for paper in own).replace(",", " ").split()
        assert {word.rstrip("abc") for word in words if word != "and"} == expected
    assert all(paper.claim for paper in papers if paper.table is None)
    assert {p.table for p in papers if p.source.startswith("Jeong")} == {"2", "3", "4", "5", "6", "7"}
    for name, (table, _, _) in TABLES.items():
        assert paper_of(REPOSITORY / "experiments" / f"{name}.yaml").table == table


def test_the_training_times_of_a_table_agree_with_each_other() -> None:
    paper = paper_of(REPOSITORY / "experiments" / "sheikholeslami2022-table1.yaml")
    assert (paper.table, len(paper.times)) == ("1", 8)
    for row in paper.times:
        assert row.epochs * row.seconds / 3600 == pytest.approx(row.hours, rel=0.02)


API_FIGURES = {file: file.stem for file in FILES if file.stem.removeprefix("salman2020-figure") in
               {"6", *map(str, range(16, 21)), *map(str, range(23, 27))}}  # fmt: skip


@pytest.mark.parametrize("file", API_FIGURES, ids=API_FIGURES.get)
def test_the_figures_about_apis_ask_what_the_paper_asked(file: Path) -> None:
    plan = plan_of(file)
    asked = [run for run in plan.stage_runs if run.kind == "certify" and is_api(str(run.values["classifier"]))]
    assert {str(run.values["classifier"]).partition(":")[0] for run in asked} <= {"azure", "google", "clarifai", "aws"}
    for run in asked:
        known = {key: run.values[key] for key in ("dataset", "data_root", "n0", "alpha")}
        assert known == {"dataset": "folder", "data_root": "data/imagenet-val-100", "n0": 20, "alpha": 0.001}
        assert run.values["n"] == (1000 if run.stage == "azure-mse-1000" else 100)
        assert "label_rule" not in run.values  # the label with the highest score
    assert plan.settings is not None
    assert {run.values["sigma"] for run in asked} == ({0.25} if file.stem.endswith("figure6") else {0.12, 0.25})
    words = " ".join(plan.settings.differences)
    for fault in ("agreement", "imsave", "behind the denoiser", "BatchNorm", "equal scores", "None", "rounds radii"):
        assert fault in words
    if (numbers := plan.settings.paper.numbers) is not None:
        assert any("Read off the plots" in line for line in numbers.lost)


def test_the_denoiser_of_figure_6_is_chosen_without_test_images() -> None:
    plan = plan_of(REPOSITORY / "experiments" / "salman2020-figure6.yaml")
    by_name = {run.name: run for run in plan.stage_runs}
    assert {run.values["denoiser_weights"] for run in plan.stage_runs if run.stage.endswith("-chosen")} == {"@chosen"}
    judges = {name for key, name in by_name["chosen"].uses if key == "judged_by"}
    assert judges == {"judged-resnet18", "judged-resnet34", "judged-resnet50"}
    through = {run.values.get("classifier") for run in plan.stage_runs if run.entry.trains}
    for name in judges:
        values = by_name[name].values
        ids = IndexSet(1_281_167, values["skip"], values["max"], values["start"]).ids
        assert (len(ids), values["split"], values["classifier"] in through) == (100, "train", False)
        assert not {*ids} - {*held_out_ids(range(1_281_167))}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_smoke(
    file: Path,
    one_pool: None,
    kept_replicas: None,
    trials_here: None,
    results: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(results)  # the data sets of the files are missing there
    out = str(yaml.safe_load(file.read_text())["out"])
    code, stdout, err = command(capsys, "run", str(file), "--smoke")
    assert code == 0, err
    plan = smoke_plan(read_plan(file))
    assert plan.out == Path(out) / FOLDER
    done = [run for run in plan.stage_runs if run.kind != "report"]
    stages = {run.stage for run in done if not run.stage.startswith("fake-")}
    assert stages == {run.stage for run in read_plan(file).stage_runs} - {"report"}
    for run in done:
        assert (plan.out / "stages" / f"{run.name}.json").is_file()
        assert f": {run}: " in err
    if plan.settings is None or not any(run.entry.samples for run in done):
        return
    assert "This is a smoke test" in stdout
    page = (plan.out / "report" / file.stem / "report.md").read_text()
    assert SMOKE in page
    html = plan.out / "report" / file.stem / "report.html"
    assert f"\npage, for a browser: {html}\n" in err
    assert SMOKE in html.read_text()
    for line in plan.settings.differences:
        assert line in page
    rejecting = any(run.values.get("rejector", "none") != "none" for run in done)
    assert (plan.out / "report" / file.stem / "rejection.png").is_file() == rejecting
    if plan.settings.paper.numbers is None:
        assert str(plan.settings.paper.claim) in page
        return
    comparison = (plan.out / "report" / file.stem / "side-by-side.csv").read_text().splitlines()
    assert len(comparison) == 1 + 2 * len(plan.settings.paper.numbers.rows)
    ours = [line for line in comparison if ",ours," in line]
    assert any(set(line.partition(",ours,")[2].split(",")) != {"-"} for line in ours)


def test_the_same_smoke_test_again_runs_nothing(
    one_pool: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, first = command(capsys, "demo", "--smoke")
    assert code == 0, first
    page = Path("demo/smoke/report/digits/report.html")
    assert f"page, for a browser: {page}" in first
    assert "by raysmooth 0.1.0: <code>raysmooth demo --smoke</code>" in page.read_text()
    notes = {file: file.stat().st_mtime_ns for file in (tmp_path / "demo" / "smoke" / "stages").iterdir()}
    code, stdout, err = command(capsys, "demo", "--smoke")
    assert code == 0, err
    stages = [line for line in err.splitlines() if line.startswith("stage ")]
    assert len(stages) == 6
    assert all(line.endswith(": already done") for line in stages)
    assert {file: file.stat().st_mtime_ns for file in notes} == notes
    assert "stab+mse" in stdout


def test_a_smoke_test_of_arrays_generates_them_only_where_they_are_missing(tmp_path: Path) -> None:
    file, arrays = tmp_path / "own.yaml", tmp_path / "arrays"
    changes = {
        "digits_cnn": "cifar_resnet20",
        "data: {dataset: digits}": f"data: {{dataset: numpy, data_root: {arrays}}}",
        "      sigma: 0.5\n": "      sigma: 0.5\n      split: fog\n",
        "out: demo": f"out: {tmp_path}/out",
        "{<<: *training, classifier": "{<<: *training, recipe: digits-classifier, classifier",
        "objective: mse": "objective: mse\n      recipe: digits-mse",
        "objective: stab+mse": "objective: stab+mse, recipe: digits-stab+mse",
    }
    text = (REPOSITORY / "experiments" / "digits.yaml").read_text()
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    file.write_text(text)
    generated = smoke_plan(read_plan(file)).stage_runs[-2].values["data_root"]
    assert len(open_dataset("numpy", generated, "fog")) == 40
    arrays.mkdir()
    for name, values in (("fog", np.zeros((50, 32, 32, 3), np.uint8)), ("labels", np.arange(50) % 10)):
        np.save(arrays / f"{name}.npy", values)
    assert smoke_plan(read_plan(file)).stage_runs[-2].values["data_root"] == str(arrays)


def test_a_smoke_test_refuses_what_the_experiment_refuses(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    text = (REPOSITORY / "experiments" / "jeong2020-table5.yaml").read_text()
    wrong.write_text(text.replace("classifier: lenet,", "classifier: lenett,"))
    with pytest.raises(RaysmoothError, match=r"stage m-2-0\.25: unknown classifier 'lenett': did you mean 'lenet'"):
        smoke_plan(read_plan(wrong))
    wrong.write_text(text.replace("@m-{m}-{sigma}", "@m-8-{sigma}"))
    with pytest.raises(RaysmoothError, match="nothing is left of stage certified-m"):
        smoke_plan(read_plan(wrong))


def test_a_smoke_test_has_no_rejector_that_no_stage_trains(tmp_path: Path) -> None:
    file = tmp_path / "given.yaml"
    text = (REPOSITORY / "experiments" / "digits-rejection.yaml").read_text()
    file.write_text(text.replace('rejector_weights: "@rejector-{behind}"', "rejector_weights: mine.safetensors"))
    with pytest.raises(RaysmoothError, match=r"rejector_weights mine\.safetensors: a smoke test has no such rejector"):
        smoke_plan(read_plan(file))


def test_a_smoke_test_of_one_epoch_moves_sigmas_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "moving.yaml"
    text = (REPOSITORY / "experiments" / "jeong2020-table5.yaml").read_text()
    training = "train classifier: {classifier: lenet,"
    assert training in text
    file.write_text(text.replace(training, f'{training} data_dependent: "epochs_from=50,steps=2",'))
    trained = [run.values for run in smoke_plan(read_plan(file)).stage_runs if run.entry.trains]
    assert {values["data_dependent"] for values in trained} == {"epochs_from=0,steps=2"}


def test_smoke_results_are_kept_apart_and_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plan = smoke_plan(read_plan(REPOSITORY / "experiments" / "salman2020-table1.yaml"))
    assert plan.out == Path("salman2020-imagenet/smoke")
    for run in plan.stage_runs:
        if run.entry.trains:
            assert (run.values["epochs"], run.values["max"]) == (1, 20)
            assert math.prod(int(run.values[key]) for key in ("resize", "crop")) == 32 * 32
        if run.entry.samples:
            assert run.values["n"] <= 100
            assert run.values["max"] == 2
    settings = json.dumps([dict(run.values) for run in plan.stage_runs])
    assert "IMAGENET1K_V1" not in settings  # nothing is downloaded
    assert 'resnet50"' not in settings.replace("@stab+mse-resnet50", "")
