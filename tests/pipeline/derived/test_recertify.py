"""Recertification: rows from stored counts equal to those that would have been drawn, or refused."""

import json
import shutil
from collections.abc import Sequence
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from command import command
from counted_runs import BLOCK, EASY, HARD, LOST, N0, stored_run
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from manifests import manifest_of
from scipy.stats import norm
from statsmodels.stats.proportion import proportion_confint

import raysmooth
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.settings import user_settings
from raysmooth.pipeline.certification.certificate import ABSTAIN
from raysmooth.pipeline.derived.recertify import recertify
from raysmooth.pipeline.drawing.driver import run_procedure
from raysmooth.pipeline.runs.procedures import PROCEDURES
from raysmooth.pipeline.store.manifest import run_id
from raysmooth.pipeline.store.parts import read_rows

CERTIFY = PROCEDURES["certify"]
COMMON: dict[str, Any] = {
    "dataset": "digits",
    "classifier": "base_classifiers:Linear",
    "sigma": 0.25,
    "max": 14,
    "n0": 40,
    "n": 1000,
    "block_size": 200,
    "batch_size": 100,
    "precision": "float32",
    "compile": "off",
    "replicas": 1,
}
RUNS: dict[str, dict[str, Any]] = {
    "fixed": {},
    "fewer": {"n": 400},
    "other alpha": {"alpha": 0.05},
    "adaptive": {"sampling": "adaptive"},
    "decide": {"sampling": "decide", "radius": 0.1},
    "linf": {"norm": "linf"},
}
NEW = ["run_id", "source", "seconds"]
"""Columns in which a recertified row differs from one that was drawn."""


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory, ray_cluster: object) -> dict[str, Path]:
    """Real runs, each in a folder of its own."""
    folders = {name: tmp_path_factory.mktemp("drawn") for name in RUNS}
    all_settings = [
        user_settings(CERTIFY.settings, {**COMMON, **RUNS[name], "out": str(out)}) for name, out in folders.items()
    ]
    run_procedure(CERTIFY, all_settings, show_progress=False)
    return folders


@pytest.fixture
def out(tmp_path: Path, drawn: dict[str, Path]) -> Any:
    """Copies a drawn run into `tmp_path`, and gives this."""

    def copy(name: str) -> Path:
        shutil.copytree(drawn[name], tmp_path, dirs_exist_ok=True)
        return tmp_path

    return copy


def rows_of(out: Path) -> pd.DataFrame:
    """The rows of the one run that was drawn in `out`."""
    drawn = [
        path.parent.name
        for path in out.glob("runs/*/manifest.json")
        if json.loads(path.read_text())["identity"]["procedure"] == "certify"
    ]
    (run,) = drawn
    return read_rows(out, CERTIFY.folder, run)


def same(new: pd.DataFrame, old: pd.DataFrame, but: Sequence[str] = ()) -> None:
    pd.testing.assert_frame_equal(new.drop(columns=[*NEW, *but]), old.drop(columns=[*NEW, *but]))


@pytest.mark.parametrize("name", ["fixed", "adaptive", "decide", "linf"])
def test_with_nothing_otherwise_the_rows_are_the_sources(out: Any, name: str) -> None:
    folder = out(name)
    old = rows_of(folder)
    new = recertify(folder, alpha=0.001)
    same(new, old)
    assert (old.radius > 0).any()
    np.testing.assert_allclose(new.seconds, old.seconds)
    assert set(new.source) == {f"recertified from {old.run_id[0]}"}
    assert set(new.run_id).isdisjoint(old.run_id)


def test_fewer_draws_are_those_of_a_run_with_fewer(out: Any, drawn: dict[str, Path]) -> None:
    """Streams and batches of an image's first blocks are the same: so are the counts, to the last."""
    new, theirs = recertify(out("fixed"), n=400), rows_of(drawn["fewer"])
    same(new, theirs)
    assert set(new.n_used) == {400}
    assert set(new.draws) == {440}


def test_other_alphas_and_norms_are_those_of_runs_with_them(out: Any, drawn: dict[str, Path]) -> None:
    same(recertify(out("fixed"), alpha=0.05), rows_of(drawn["other alpha"]))
    same(recertify(out("fixed"), norm="linf"), rows_of(drawn["linf"]))
    back = recertify(out("linf"), norm="l2", runs=rows_of(drawn["linf"]).run_id[0])
    same(back, rows_of(drawn["fixed"]))


def test_an_adaptive_runs_alpha_by_an_independent_computation(out: Any) -> None:
    new = recertify(out("adaptive"), alpha=0.02)
    assert new.n_used.nunique() > 2
    for row in new.itertuples():
        p_lower = 0.0
        if row.count_top:
            p_lower = proportion_confint(row.count_top, row.n_used, alpha=0.04, method="beta")[0]
        assert row.p_lower == pytest.approx(p_lower, rel=1e-9)
        assert row.radius == pytest.approx(0.25 * norm.ppf(p_lower) if p_lower > 0.5 else 0.0, rel=1e-8)


def test_a_decision_may_be_held_against_another_alpha(out: Any) -> None:
    folder = out("decide")
    old = rows_of(folder)
    strict, lax = recertify(folder, alpha=1e-12), recertify(folder, alpha=0.2)
    assert (old.decision == "certified").any()
    certified = [set(rows[rows.decision == "certified"].image_id) for rows in (strict, old, lax)]
    assert certified[0] <= certified[1] <= certified[2]
    assert len(certified[0]) < len(certified[1])
    assert (strict[strict.image_id.isin(certified[1] - certified[0])].decision == "undecided").all()


def test_the_same_again_writes_nothing_and_parquet_has_all(out: Any) -> None:
    folder = out("fixed")
    old, new = rows_of(folder), recertify(folder, noise_bound="runner-up", familywise=0.05)
    files = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    pd.testing.assert_frame_equal(recertify(folder, noise_bound="runner-up", familywise=0.05), new)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()} == files
    stored = pd.read_parquet(folder / "certificates").astype({"run_id": "str"})
    assert stored.groupby("run_id").size().to_dict() == {old.run_id[0]: 14, new.run_id[0]: 14}
    assert set(new.alpha) == {0.05 / 14}
    manifest = json.loads((folder / "runs" / new.run_id[0] / "manifest.json").read_text())
    assert manifest["source_run"] == manifest["identity"]["source_run"] == old.run_id[0]
    assert manifest["identity"]["noise_bound"] == "runner-up"
    assert manifest["recertified"]["familywise"] == 0.05
    assert run_id(manifest["identity"]) == new.run_id[0] == manifest["run_id"]
    summary = raysmooth.summarize(raysmooth.read_certificates(folder), [0])
    assert sorted(summary["bound"]) == ["1 - pA", "runner-up"]


def test_runner_up_by_an_independent_computation(tmp_path: Path) -> None:
    stored_run(tmp_path, [EASY, HARD, LOST])
    new = recertify(tmp_path, noise_bound="runner-up", alpha=0.01)
    # EASY 153, 5, 2; HARD 78, 44, 38; LOST, whose class is 1: 64 of 64, 64, 32; of 160 draws.
    low, high = proportion_confint(153, 160, alpha=0.01, method="beta")[0], proportion_confint(5, 160, 0.01, "beta")[1]
    assert new.p_lower[0] == pytest.approx(low, rel=1e-9)
    assert new.p_upper[0] == pytest.approx(min(high, 1 - low), rel=1e-9)
    low, high = proportion_confint(78, 160, 0.01, "beta")[0], proportion_confint(44, 160, 0.01, "beta")[1]
    assert (new.prediction[1], new.p_upper[1]) == (0, pytest.approx(high, rel=1e-9))
    assert low < 0.5
    assert new.radius[1] == pytest.approx(0.5 / 2 * (norm.ppf(low) - norm.ppf(high)), rel=1e-8)
    assert (new.prediction[2], new.radius[2]) == (ABSTAIN, 0.0)
    assert recertify(tmp_path, alpha=0.01).prediction.tolist() == [0, ABSTAIN, ABSTAIN]


def test_fewer_draws_are_the_first_blocks(tmp_path: Path) -> None:
    stored_run(tmp_path, [EASY, HARD])
    new = recertify(tmp_path, n=100)
    assert new.count_top.tolist() == [48 + 45, 25 + 26]
    assert new.n_used.tolist() == [100, 100]
    assert new.n.tolist() == [100, 100]
    assert new.seconds.tolist() == [0.75, 0.75]  # of the selection and two blocks
    assert recertify(tmp_path, n=160, alpha=0.01).count_top.tolist() == [153, 78]


def test_errors_stay_errors_and_what_the_source_finishes_later_is_added(tmp_path: Path) -> None:
    source = stored_run(tmp_path, [EASY, HARD, EASY], bad=[1], of=4)
    new = recertify(tmp_path, familywise=0.04)
    assert set(new.alpha) == {0.01}  # of the four images that there will be
    assert new.status.tolist() == ["ok", "error", "ok"]
    assert new.error[1] == "NaN"
    assert np.isnan(new.radius[1])
    assert set(new.images) == {4}
    assert stored_run(tmp_path, [EASY, HARD, EASY, EASY], of=4) == source
    again = recertify(tmp_path, familywise=0.04)
    pd.testing.assert_frame_equal(again[:3], new)
    assert again.image_id.tolist() == [0, 1, 2, 3]
    assert again.radius[3] == again.radius[0]


def test_several_runs_at_once_or_those_chosen(tmp_path: Path) -> None:
    first, second = (stored_run(tmp_path, [EASY, HARD], seed=seed) for seed in (0, 1))
    both = recertify(tmp_path, alpha=0.01)
    assert both.source.unique().tolist() == [f"recertified from {run}" for run in sorted((first, second))]
    # What was recertified is no source: the same runs again.
    assert len(recertify(tmp_path, alpha=0.02)) == 4
    (only,) = recertify(tmp_path, second[:6], alpha=0.03).source.unique()
    assert only == f"recertified from {second}"
    assert len(recertify(tmp_path, f"{second},{first}", alpha=0.03)) == 4


def test_uniform_noise_and_many_classes(tmp_path: Path) -> None:
    counts = np.zeros((3, 1000), int)
    counts[0, 7], counts[1, [7, 999]], counts[2, [7, 500]] = 20, [45, 5], [49, 1]
    stored_run(tmp_path, [counts.tolist()], noise="uniform", norm="l1", sigma=1 / sqrt(3))
    (row,) = recertify(tmp_path, alpha=0.01).to_dict("records")
    p_lower = proportion_confint(94, 100, alpha=0.02, method="beta")[0]
    assert (row["prediction"], row["radius"]) == (7, pytest.approx(2 * (p_lower - 0.5), rel=1e-9))


@examples(25)
@given(
    st.lists(
        st.lists(st.integers(0, BLOCK), min_size=3, max_size=3).filter(lambda cuts: sum(cuts) > 0),
        min_size=4,
        max_size=4,
    ),
    st.lists(st.floats(1e-8, 0.4), min_size=2, max_size=2, unique=True),
    st.sampled_from(["complement", "runner-up"]),
)
def test_a_smaller_alpha_never_gives_a_larger_radius(
    tmp_path_factory: pytest.TempPathFactory, shares: list[list[int]], alphas: list[float], bound: str
) -> None:
    out = tmp_path_factory.mktemp("counts")
    blocks = []
    for size, share in zip([N0, BLOCK, BLOCK, BLOCK], shares, strict=True):
        first, second = (size * share[place] // sum(share) for place in (0, 1))
        blocks.append([first, second, size - first - second])
    stored_run(out, [blocks])
    small, large = (recertify(out, alpha=alpha, noise_bound=bound).iloc[0] for alpha in sorted(alphas))
    assert small.radius <= large.radius * (1 + 1e-12)
    assert small.p_lower <= large.p_lower * (1 + 1e-12)
    assert small.prediction in (ABSTAIN, large.prediction)
    every = recertify(out, familywise=min(alphas), noise_bound=bound).iloc[0]  # one image: delta is alpha
    assert (every.radius, every.alpha) == (small.radius, min(alphas))


ADAPTIVE = {"sampling": "adaptive:tolerance=2%,pilot=1"}
DECIDE = {"sampling": "decide:radius=0.2"}
REFUSED: list[tuple[dict[str, Any], list[str], str]] = [
    ({}, [], "recertify needs a change: write --alpha 0.01"),
    ({}, ["--rejection", "on"], "recertify needs a change: write --alpha 0.01"),
    ({}, ["--alpha", "0"], "--alpha 0: write a probability between 0 and 1"),
    ({}, ["--familywise", "1"], "--familywise 1: write a probability between 0 and 1"),
    ({}, ["--familywise", "0.1", "--alpha", "0.1"], "--familywise sets alpha to DELTA / images"),
    ({}, ["--n", "0"], "--n 0: write 1 or more"),
    ({}, ["--n", "161"], "--n 161: run RUN has n=160 draws per image: write --n 160 or less, or certify again"),
    ({}, ["--n", "20"], "--n 20: run RUN counted its draws in blocks of 50: write --n 50\n"),
    ({}, ["--n", "120"], "--n 120: run RUN counted its draws in blocks of 50: write --n 100 or --n 150\n"),
    ({}, ["--n", "155"], "--n 155: run RUN counted its draws in blocks of 50: write --n 150 or --n 160\n"),
    ({}, ["--noise-bound", "runner"], "unknown noise bound 'runner': did you mean 'runner-up'?"),
    ({}, ["--rejection", "maybe"], "--rejection maybe: write on or off"),
    ({}, ["--noise-bound", "rejection"], "--noise-bound rejection: run RUN has no rejector: choose others with --run"),
    ({}, ["--norm", "l1"], "--norm l1: run RUN has gaussian noise, which gives radii in l2 or linf: write"),
    ({}, ["--alpha", "1e-60"], "n=160 draws at alpha=1e-60 (complement bound) can only abstain in run RUN: write"),
    ({}, ["--run", "zz", "--alpha", "0.1"], "--run zz: there is no such run: known: RUN"),
    (ADAPTIVE, ["--n", "100"], "--n 100: run RUN has sampling adaptive:tolerance=2%,pilot=1, and its numbers"),
    (DECIDE, ["--n", "100"], "--n 100: run RUN has sampling decide:radius=0.2, and an image's draws stopped at"),
    (DECIDE, ["--noise-bound", "runner-up"],
     "--noise-bound runner-up: run RUN has sampling decide:radius=0.2, and its draws were stopped by"),
    (DECIDE, ["--alpha-share", "0.9"], "--alpha-share 0.9: run RUN has sampling decide:radius=0.2, and its test does"),
    (DECIDE, ["--norm", "linf"], "--norm linf: run RUN has sampling decide:radius=0.2, and it decided a radius"),
    (DECIDE, ["--alpha", "1e-60"], "n=160 draws at alpha=1e-60 (complement bound) can only abstain in run RUN"),
]  # fmt: skip


@pytest.mark.parametrize(("facts", "flags", "expected"), REFUSED, ids=lambda value: " ".join(value))
def test_what_the_counts_do_not_support_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], facts: dict[str, Any], flags: list[str], expected: str
) -> None:
    run = stored_run(tmp_path, [EASY, HARD], **facts)
    code, out, err = command(capsys, "recertify", str(tmp_path), *flags)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"raysmooth: {expected.replace('RUN', run)}"), err
    assert [path.name for path in tmp_path.glob("runs/*")] == [run]


def test_norms_have_tables_of_their_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored_run(tmp_path, [EASY, HARD])
    stored_run(tmp_path, [EASY, HARD], noise="uniform", norm="l1")
    code, printed, _ = command(capsys, "recertify", str(tmp_path), "--alpha", "0.01")
    assert code == 0
    captions = [line for line in printed.splitlines() if " noise, " in line]
    assert sorted(line.split(" noise, ")[1].split(" norm")[0] for line in captions) == ["l1", "l2"]


def test_runs_that_are_no_source_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refusal(*flags: str) -> str:
        code, out, err = command(capsys, "recertify", str(tmp_path), "--alpha", "0.01", *flags)
        assert (code, out, err.count("\n")) == (2, "", 1)
        return err.removeprefix("raysmooth: ")

    assert refusal().startswith(f"there is no {tmp_path / 'runs'}: give the results folder")
    predict = manifest_of(procedure="predict")
    predictions = tmp_path / f"runs/{predict['run_id']}/manifest.json"
    predictions.parent.mkdir(parents=True)
    predictions.write_text(json.dumps(predict))
    assert refusal().startswith(f"{tmp_path} holds no certificates sampled there")
    expected = f"run {predict['run_id']} (predict) has no certificates sampled here"
    assert refusal("--run", predict["run_id"]).startswith(expected)
    source = stored_run(tmp_path, [EASY])
    (made,) = recertify(tmp_path, alpha=0.05).run_id.unique()
    assert refusal("--run", ",").startswith("--run ,: there is no such run")
    expected = f"run {made} has no counts, as it was recertified: write --run {source}, its source\n"
    assert refusal("--run", made) == expected
    predictions.write_text("{")
    assert refusal().startswith(f"{predictions} is not a raysmooth manifest: not JSON (")
    assert refusal().endswith("): move its folder away\n")


def test_counts_that_are_not_whole_are_refused(tmp_path: Path) -> None:
    source = stored_run(tmp_path, [EASY])
    (part,) = tmp_path.glob("runs/*/counts/*.parquet")
    shutil.copy(part, part.with_name("part-copy.parquet"))
    with pytest.raises(
        RaysmoothError, match=rf"the counts of run {source} hold block 0 of image 0 twice: move the copied"
    ):
        recertify(tmp_path, alpha=0.01)
    for file in part.parent.iterdir():
        file.unlink()
    with pytest.raises(
        RaysmoothError, match=r"lacks draws of image 0, which has 20 \+ 160: restore its parts, or certify"
    ):
        recertify(tmp_path, alpha=0.01)
    assert [path.name for path in tmp_path.glob("runs/*")] == [source]


def test_the_command_prints_the_table_and_names_the_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = stored_run(tmp_path, [EASY, HARD])
    code, out, err = command(capsys, "recertify", str(tmp_path), "--noise-bound", "runner-up", "--n", "150")
    assert code == 0
    assert "runner-up bound, n0=20, n=150, alpha=0.001" in " ".join(out.split())
    (made,) = {path.name for path in (tmp_path / "runs").iterdir()} - {source}
    assert f"recertified from {source}: run {made}\n" in err
    code, out, _ = command(capsys, "report", str(tmp_path))
    assert code == 0
    assert "runner-up" in out
    command(capsys, "recertify", str(tmp_path), "--norm", "linf")
    code, out, err = command(capsys, "report", str(tmp_path))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "different norms (l2, linf), which tables and curves cannot compare: write --where norm=l2" in err


def test_rows_of_before_some_columns_are_recertified_too(tmp_path: Path) -> None:
    """As raysmooth wrote them when runs had no `source` and no `p_upper`."""
    source = stored_run(tmp_path, [EASY, HARD])
    (part,) = tmp_path.glob("certificates/*/*.parquet")
    old = pq.ParquetFile(part).read().drop_columns(["source", "p_upper", "sampling", "decision", "n_used", "draws"])
    pq.write_table(old, part)
    new = recertify(tmp_path, alpha=0.001)
    assert new.radius.tolist() == old["radius"].to_pylist()
    assert new.draws.tolist() == [180, 180]
    assert set(new.source) == {f"recertified from {source}"}
    assert len(raysmooth.read_certificates(tmp_path)) == 4
