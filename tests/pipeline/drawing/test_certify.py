"""Whole runs on real Ray: rows are certificates of their counts, and an error is a row, never a count."""

import dataclasses
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from digits_runs import DIGITS, Result, counts_of, error_of, neighbours, rows_of, run, same, settings_of
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from statsmodels.stats.proportion import proportion_confint

from raysmooth.actors.compute.compute_config import ComputeConfig
from raysmooth.actors.models.loading import load_base_classifier
from raysmooth.actors.replica.draws import draw
from raysmooth.actors.replica.replica_identity import ReplicaIdentity
from raysmooth.common.settings import user_settings
from raysmooth.pipeline.drawing.driver import run_procedure
from raysmooth.pipeline.drawing.ledger import Ledger
from raysmooth.pipeline.pool.tasks import UnitResult
from raysmooth.pipeline.runs.prepare import prepare
from raysmooth.pipeline.runs.procedures import PROCEDURES
from raysmooth.pipeline.store.manifest import run_id
from raysmooth.pipeline.store.parts import read_rows
from raysmooth.pipeline.store.run_store import RunStore

pytestmark = pytest.mark.usefixtures("one_pool")

SAMPLINGS: dict[str, dict[str, Any]] = {
    "fixed": {},
    "adaptive": {"sampling": "adaptive"},
    "decide": {"sampling": "decide", "radius": 0.2},
}


@pytest.fixture(scope="module")
def undisturbed_of(tmp_path_factory: pytest.TempPathFactory, ray_cluster: object) -> dict[str, Result]:
    """Of each way of sampling."""
    out = tmp_path_factory.mktemp("undisturbed")
    all_settings = [settings_of(out / name, **changes) for name, changes in SAMPLINGS.items()]
    run_procedure(PROCEDURES["certify"], all_settings, show_progress=False)
    return {name: (rows_of(out / name), counts_of(out / name)) for name in SAMPLINGS}


@pytest.fixture(scope="module")
def undisturbed(undisturbed_of: dict[str, Result]) -> Result:
    return undisturbed_of["fixed"]


def test_rows_are_certificates_of_their_counts(undisturbed: Result) -> None:
    rows, counts = undisturbed
    assert rows.image_id.tolist() == list(range(23))
    assert (rows.status == "ok").all()
    for row in rows.itertuples():
        mine = counts[counts.image_id == row.image_id]
        selected, estimated = np.zeros(10, int), np.zeros(10, int)
        for block in mine.itertuples():
            (selected if block.role == "selection" else estimated)[block.labels] += block.counts
        assert (selected.sum(), estimated.sum()) == (40, 500)
        top = int(selected.argmax())
        p_lower = proportion_confint(estimated[top], 500, alpha=0.002, method="beta")[0]
        radius = 0.25 * norm.ppf(p_lower) if p_lower > 0.5 else 0.0
        assert row.radius == pytest.approx(radius, rel=1e-8)
        assert row.prediction == (top if p_lower > 0.5 else -1)
        assert row.correct == (row.prediction == row.label)


def test_python_reads_the_same_rows_from_parquet(tmp_path: Path, undisturbed: Result) -> None:
    run(tmp_path)
    stored = pd.read_parquet(tmp_path / "certificates").sort_values("image_id", ignore_index=True)
    stored = stored.astype({"run_id": "str"})[undisturbed[0].columns]
    same(stored, undisturbed[0])


@pytest.mark.parametrize("classifier", ["Undecided", "UndecidedLabels"])
def test_a_random_classifier_is_said_once(tmp_path: Path, classifier: str, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = settings_of(tmp_path, classifier=f"base_classifiers:{classifier}", max=2, sigma="0.25,0.5")
    run_procedure(PROCEDURES["certify"], [chosen])
    said = [line for line in capsys.readouterr().err.splitlines() if "random" in line]
    assert said == [
        "raysmooth: warning: the classifier is random (it answers differently to equal input): equal counts cannot be "
        "promised"
    ]
    with pytest.warns(UserWarning, match="the classifier is random") as caught:
        run(tmp_path / "quiet", classifier=f"base_classifiers:{classifier}", max=2)
    assert len(caught) == 1


def test_logits_that_are_no_numbers_from_the_first_draw_are_error_rows(tmp_path: Path) -> None:
    rows = run(tmp_path, classifier="base_classifiers:NotANumber", max=3, precision="auto")
    assert [error_of(row) for row in rows.to_dict("records")] == [
        error_of(row) for row in run(tmp_path, classifier="base_classifiers:NotANumber", max=3).to_dict("records")
    ]
    assert rows.error[0].startswith("no valid answer (logits NaN or infinite, ")


@pytest.mark.parametrize("sampling", SAMPLINGS)
@settings(max_examples=12, deadline=None)
@given(order=st.randoms(use_true_random=False), killed_after=st.integers(0, 100), window=st.integers(1, 60))
def test_any_order_of_completion_and_a_kill_between_give_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory,
    undisturbed_of: dict[str, Result],
    sampling: str,
    order: Any,
    killed_after: int,
    window: int,
) -> None:
    """Without Ray: units drawn here, at most `window` of them in flight, and recorded in any order, with one session
    cut off and another after it.
    """
    out, cpu = tmp_path_factory.mktemp("shuffled"), torch.device("cpu")
    procedure, (rows, counts) = PROCEDURES["certify"], undisturbed_of[sampling]
    (planned,) = prepare(procedure, settings_of(out, **SAMPLINGS[sampling]))
    planned = dataclasses.replace(planned, compute=ComputeConfig("float32", False, 100))
    model = load_base_classifier(planned.base, cpu).model
    manifest = planned.manifest(ReplicaIdentity("cpu", "0", "0", "here", 1), {})
    drawn = 0
    for units_left in (killed_after, 10**9):
        with RunStore(out, procedure.folder, procedure.schema, manifest) as store:
            ledger, in_flight = Ledger(0, planned, store), []
            while units_left:
                while len(in_flight) < window and (request := ledger.next_request()) is not None:
                    in_flight.append(request)
                if not in_flight:
                    break
                request = in_flight.pop(order.randrange(len(in_flight)))
                seed = planned.settings.seed
                answer = draw(request.unit, request.images, model, planned.noise, seed=seed, batch_size=100, device=cpu)
                ledger.record(UnitResult(request, answer))
                ledger.record(UnitResult(request, answer))  # an answer that comes twice is entered once
                drawn += request.unit.draws
                units_left -= 1
    assert drawn == counts.draws.sum()
    same(read_rows(out, procedure.folder, manifest["run_id"]).assign(run_id=rows.run_id), rows)
    pd.testing.assert_frame_equal(counts_of(out), counts)


INVALID = "no valid answer (logits NaN or infinite, or a label outside the classes) in 100 of 100 draws"
GOOD = [(0.2, 1), (0.3, 3), (0.5, 5), (0.7, 7)]


def test_bad_images_are_error_rows_and_the_run_goes_on(tmp_path: Path, picture_file: Any) -> None:
    bad = [(0.9, 9), (1.0, 9), (b"\x89PNG not really", 2), (0.4, 10), (0.05, 2)]
    images = [*GOOD[:2], *bad, *GOOD[2:]]
    data = {"dataset": "parquet", "classifier": "base_classifiers:Fragile", "max": None, "sigma": 0.02}
    # Selection draws of all of them share a unit, and estimation draws of two.
    data |= {"n0": 10, "n": 90, "block_size": 40}
    # Black images of the same number in place of the bad ones: what is wrong with those must touch no other.
    blank = [picture if picture in GOOD else (0.0, 0) for picture in images]
    whole = run(tmp_path / "blank", data_root=picture_file(blank, "blank.parquet"), **data)
    rows = run(tmp_path / "bad", data_root=picture_file(images, "bad.parquet"), **data)
    reasons = [error_of(row) for row in rows[2:7].to_dict("records")]
    assert reasons[0] == reasons[1] == INVALID
    assert "image" in reasons[2]
    assert reasons[3] == "label 10 is outside the classifier's classes 0..9"
    assert rows.file.tolist() == [f"{number}.png" for number in range(9)]
    assert reasons[4] == "ValueError: too dark"
    rest = rows[rows.status == "ok"]
    assert rest.image_id.tolist() == [0, 1, 7, 8]
    assert rest.label.tolist() == [label for _, label in GOOD]
    columns = ["image_id", "prediction", "radius", "count_top", "n_used", "draws"]
    pd.testing.assert_frame_equal(rest[columns], whole.loc[rest.index, columns], check_dtype=False)
    counts = counts_of(tmp_path / "bad")
    pd.testing.assert_frame_equal(neighbours(counts, rest), neighbours(counts_of(tmp_path / "blank"), rest))
    assert not set(counts.image_id) & {4, 5}
    assert counts[counts.image_id.isin([2, 3])].counts.map(len).sum() == 0
    # The same command again repeats nothing and loses nothing.
    again = run(tmp_path / "bad", data_root=str(tmp_path / "bad.parquet"), **data)
    pd.testing.assert_frame_equal(again, rows)


def test_an_unreadable_image_changes_nothing_for_those_that_share_its_units(tmp_path: Path, picture_file: Any) -> None:
    values = [0.1 * number for number in range(1, 9)]
    data = {"dataset": "parquet", "classifier": "base_classifiers:Linear", "max": None, "sigma": 0.3, "n0": 40, "n": 60}
    whole = run(tmp_path / "a", data_root=picture_file([(value, 1) for value in values], "a.parquet"), **data)
    damaged = [(value if number != 2 else b"no image", 1) for number, value in enumerate(values)]
    broken = run(tmp_path / "b", data_root=picture_file(damaged, "b.parquet"), **data)
    assert broken.status.tolist() == ["ok"] * 2 + ["error"] + ["ok"] * 5
    left, right = (rows.drop(index=2, columns=["error", "run_id", "seconds"]) for rows in (broken, whole))
    pd.testing.assert_frame_equal(left, right, check_dtype=False)  # the error row's nulls make floats of integers
    counts = counts_of(tmp_path / "a").query("image_id != 2").reset_index(drop=True)
    pd.testing.assert_frame_equal(counts_of(tmp_path / "b"), counts)


def test_a_second_setting_becomes_a_second_run(tmp_path: Path, undisturbed: Result) -> None:
    first = run(tmp_path)
    second = run(tmp_path, sigma="0.25,0.5")
    both = pd.read_parquet(tmp_path / "certificates")
    assert both.run_id.nunique() == 2
    assert len(both) == 46
    assert set(both.sigma) == {0.25, 0.5}
    same(first, second[second.sigma == 0.25].reset_index(drop=True))
    same(first, undisturbed[0])
    manifests = list(tmp_path.glob("runs/*/manifest.json"))
    assert {path.parent.name for path in manifests} == set(both.run_id.astype(str))


def test_a_finished_run_is_not_drawn_again(tmp_path: Path) -> None:
    first, files = run(tmp_path), sorted(tmp_path.rglob("*.parquet"))
    pd.testing.assert_frame_equal(run(tmp_path), first)
    assert sorted(tmp_path.rglob("*.parquet")) == files


def test_a_command_says_what_becomes_of_earlier_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few: dict[str, Any] = {"max": 2, "n": 300}
    (old,) = run(tmp_path, **few).run_id.unique()
    run_procedure(PROCEDURES["certify"], [settings_of(tmp_path, **few)])
    assert f"raysmooth: run {old} is finished: all 2 images have their rows" in capsys.readouterr().err
    with warnings.catch_warnings(action="error"):  # a caller who writes another seed has begun another run
        (new,) = run(tmp_path, **few, seed=1).run_id.unique()
    run_procedure(PROCEDURES["certify"], [settings_of(tmp_path, **few, seed=2)])
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("raysmooth: new run ")]
    assert len(lines) == 1
    assert lines[0].endswith(
        f" differs from run {new} in --seed (1 there, 2 here); for that one (finished), write --seed 1"
    )


def test_a_notebook_is_warned_of_an_unfinished_run_that_is_not_continued(tmp_path: Path) -> None:
    import raysmooth  # the front door knows all rooms; the other tests here need none above the pipeline

    few = {**DIGITS, "max": 2, "n": 300, "out": str(tmp_path), "replicas": 1}
    (old,) = raysmooth.certify(progress=False, **few).run_id.unique()
    for part in tmp_path.glob("certificates/*/*.parquet"):
        part.unlink()
    with pytest.warns(UserWarning, match=rf"differs from run {old} in n \(300 there, 350 here\)") as caught:
        raysmooth.certify(progress=False, **few | {"n": 350})
    (warned,) = (one for one in caught if "differs from run" in str(one.message))
    assert str(warned.message).endswith("to continue that one (0 of 2 images finished), write n=300")
    assert warned.filename == __file__


def test_whatever_decides_rows_is_in_the_run_id() -> None:
    procedure, replica = PROCEDURES["certify"], ReplicaIdentity("cpu of some kind", "2.15", "2.4", "node", 1)

    def identify(on: ReplicaIdentity = replica, **changes: Any) -> str:
        (planned,) = prepare(procedure, user_settings(procedure.settings, {**DIGITS, **changes}))
        compute = ComputeConfig(planned.settings.precision, False, planned.settings.batch_size or 100)
        return run_id(dataclasses.replace(planned, compute=compute).identity(on))

    deciding: list[dict[str, Any]] = [
        {"dataset": "digits", "split": "train"},
        {"skip": 2},
        {"max": 22},
        {"classifier": "base_classifiers:Linear:seed=4"},
        {"preprocess": "0.5/0.5"},
        {"sigma": 0.5},
        {"n0": 41},
        {"n": 501},
        {"alpha": 0.01},
        {"seed": 1},
        {"batch_size": 90},
        {"precision": "bfloat16"},
        {"sampling": "adaptive"},
        {"sampling": "adaptive", "tolerance": "3%"},
        {"sampling": "decide", "radius": 0.1},
        {"block_size": 100},
        {"cpus_per_replica": 2},
        {"on": dataclasses.replace(replica, device="gpu of some kind")},
        {"on": dataclasses.replace(replica, torch="2.16")},
        {"on": dataclasses.replace(replica, numpy="2.5")},
    ]
    ids = [identify(), *(identify(**change) for change in deciding)]
    assert len(set(ids)) == len(ids)
    for change in (
        {"replicas": 7},
        {"out": "elsewhere"},
        {"max_errors": 1},
        {"on": dataclasses.replace(replica, node="b", pid=2)},
    ):
        assert identify(**change) == ids[0]


def test_labels_without_logits(tmp_path: Path, picture_file: Any) -> None:
    path = picture_file([(0.15, 1), (0.55, 5), (0.95, 2)])
    rows = run(
        tmp_path / "out", dataset="parquet", data_root=path, classifier="base_classifiers:Labels", sigma=0.05, max=None
    )
    assert rows.prediction.tolist() == [1, 5, 9]
    assert rows.correct.tolist() == [True, True, False]


def test_images_without_labels_have_certificates_but_no_verdict(tmp_path: Path, picture_file: Any) -> None:
    path = picture_file([(0.15, None), (0.55, None)])
    rows = run(
        tmp_path / "out", dataset="parquet", data_root=path, classifier="base_classifiers:Labels", sigma=0.05, max=None
    )
    assert rows.prediction.tolist() == [1, 5]
    assert rows.label.isna().all()
    assert rows.correct.isna().all()


def test_predict_writes_its_own_rows(tmp_path: Path) -> None:
    procedure = PROCEDURES["predict"]
    values = {**DIGITS, "replicas": 1, "out": str(tmp_path), "n": 300}
    del values["n0"]
    rows = run_procedure(procedure, [user_settings(procedure.settings, values)], show_progress=False)
    assert len(rows) == 23
    assert "radius" not in rows
    assert ((rows.p_value > 0.001) == rows.abstain).all()
    assert len(pd.read_parquet(tmp_path / "predictions")) == 23
    assert not (tmp_path / "certificates").exists()
