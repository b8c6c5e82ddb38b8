"""Runs with a rejector, drawn in this process: their rows by their counts, with and without the rejector."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from manifests import manifest_of
from scipy.stats import beta, norm
from small_runs import certified, opened

from raysmooth.actors.noise.role import CERTIFYING, Role
from raysmooth.actors.noise.streams import Gaussian
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.settings import user_settings
from raysmooth.pipeline.analysis.certificates import read_certificates
from raysmooth.pipeline.analysis.run_facts import describe_runs, has_usual_bound
from raysmooth.pipeline.certification.certificate import ABSTAIN
from raysmooth.pipeline.certification.sampling_rule import FixedPrediction
from raysmooth.pipeline.certification.sequential_test import Decide
from raysmooth.pipeline.derived.recertify import recertify
from raysmooth.pipeline.runs.procedures import PROCEDURES
from raysmooth.pipeline.store.count_checks import CountLimits
from raysmooth.pipeline.store.run_store import CountedBlock, RunStore
from raysmooth.pipeline.store.stored_counts import StoredCounts

PLAIN: dict[str, Any] = {
    "dataset": "digits", "classifier": "base_classifiers:Linear", "sigma": 0.25, "max": 8, "n0": 10, "n": 80,
    "alpha": 0.1, "block_size": 50,
}  # fmt: skip
UNSURE = {"rejector": "confidence:threshold=0.7"}
KINDS: dict[str, dict[str, Any]] = {
    "none": {},
    "none, runner-up": {"noise_bound": "runner-up"},
    "unsure": UNSURE,
    "unsure, theorem": {**UNSURE, "noise_bound": "rejection", "alpha_share": 0.9},
    "never": {"rejector": "confidence:threshold=0"},
    "always": {"rejector": "confidence:threshold=1"},
}
OWN = ["run_id", "source", "seconds"]
"""Columns that differ between runs whose rows say the same."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folders = {kind: tmp_path_factory.mktemp("run") for kind in KINDS}
    for kind, out in folders.items():
        certified(out, **PLAIN, **KINDS[kind])
    return folders


def rows_of(out: Path) -> pd.DataFrame:
    """The rows that were drawn in `out`."""
    rows = read_certificates(out)
    return rows[rows["source"].isna()].reset_index(drop=True)


def same(new: pd.DataFrame, old: pd.DataFrame, *but: str) -> None:
    columns = [name for name in old if name not in (*OWN, *but)]
    pd.testing.assert_frame_equal(new[columns], old[columns], check_dtype=False)


def counts_of(out: Path) -> dict[int, dict[Role, np.ndarray]]:
    """Label counts of each image by role, straight from the files, (20,)."""
    (file,) = out.glob("runs/*/counts/*.parquet")
    found: dict[int, dict[Role, np.ndarray]] = {}
    for row in pq.ParquetFile(file).read().to_pylist():
        role = Role[row["role"].upper()]
        own = found.setdefault(row["image_id"], {}).setdefault(role, np.zeros(20, int))
        own[row["labels"]] += row["counts"]
    return found


@pytest.mark.parametrize(("kind", "share"), [("unsure", 0.5), ("unsure, theorem", 0.9)])
def test_rows_follow_from_kept_and_rejected_draws(runs: dict[str, Path], kind: str, share: float) -> None:
    rows, counts = rows_of(runs[kind]), counts_of(runs[kind])
    assert rows["count_rejected"].between(1, 79).all()
    assert rows["radius"].gt(0).any()
    for row in rows.to_dict("records"):
        selection, estimation = (counts[row["image_id"]][role] for role in CERTIFYING)
        top = int(selection[:10].argmax())
        assert row["count_top"] == estimation[top]
        assert row["count_rejected"] == estimation[10:].sum()
        others = np.delete(estimation[:10], top)
        from_other = others.sum() if "theorem" in kind else others.max()
        low = beta.ppf(0.1 * share, estimation[top], 81 - estimation[top])
        high = min(1 - low, beta.isf(0.1 * (1 - share), from_other + 1, 80 - from_other))
        assert (row["p_lower"], row["p_upper"]) == (pytest.approx(low), pytest.approx(high))
        assert row["prediction"] == (top if low > high else ABSTAIN)
        assert row["radius"] == pytest.approx(max(0.0, 0.125 * (norm.ppf(low) - norm.ppf(high))))
        assert (row["noise_bound"], row["alpha_share"]) == ("rejection" if "theorem" in kind else "runner-up", share)
        assert (row["n_used"], row["draws"]) == (80, 90)


def test_without_the_rejector_the_same_draws_give_the_rows_of_the_run_without(runs: dict[str, Path]) -> None:
    plain = rows_of(runs["none"])
    for kind in ("unsure", "unsure, theorem", "always"):
        new = recertify(runs[kind], rejection="off")
        same(new, plain)
        assert new["rejector"].isna().all()
        assert new["count_rejected"].isna().all()
    without = counts_of(runs["none"])
    for image, of_role in counts_of(runs["unsure"]).items():
        for role, own in of_role.items():
            assert (own[:10] + own[10:]).tolist() == without[image][role][:10].tolist()
    same(recertify(runs["unsure"], rejection="off", noise_bound="runner-up"), rows_of(runs["none, runner-up"]))


def test_other_bounds_and_shares_are_those_of_runs_with_them(runs: dict[str, Path]) -> None:
    same(recertify(runs["unsure"], noise_bound="rejection", alpha_share=0.9), rows_of(runs["unsure, theorem"]))
    same(recertify(runs["unsure, theorem"], noise_bound="runner-up"), rows_of(runs["unsure"]))
    # What is not changed is the run's.
    kept = recertify(runs["unsure, theorem"], alpha=0.1)
    same(kept, rows_of(runs["unsure, theorem"]))
    weaker = recertify(runs["unsure"], noise_bound="complement")
    assert set(weaker["noise_bound"]) == {"complement"}
    assert weaker["alpha_share"].isna().all()
    assert (weaker["radius"] <= rows_of(runs["unsure"])["radius"] + 1e-12).sum() >= 6
    assert (weaker["count_rejected"] == rows_of(runs["unsure"])["count_rejected"]).all()


def test_a_rejector_that_never_rejects_gives_the_rows_of_none_at_the_same_share(runs: dict[str, Path]) -> None:
    never = rows_of(runs["never"])
    same(never, rows_of(runs["none, runner-up"]), "rejector", "count_rejected")
    assert set(never["count_rejected"]) == {0}


def test_a_rejector_that_rejects_everything_abstains(runs: dict[str, Path]) -> None:
    always = rows_of(runs["always"])
    assert set(always["prediction"]) == {ABSTAIN}
    assert set(always["count_rejected"]) == {80}
    assert set(always["count_top"]) == {0}
    assert set(always["radius"]) == {0.0}
    recertify(runs["always"], alpha=0.2)  # its rows agree with its counts


def test_a_resumed_run_reads_its_blocks_of_kept_and_rejected_draws(runs: dict[str, Path], tmp_path: Path) -> None:
    with opened(tmp_path, **PLAIN, **UNSURE) as (ledger, step):
        for _ in range(5):
            assert step()
        made = ledger.drawn
    with opened(tmp_path, **PLAIN, **UNSURE) as (ledger, step):
        while step():
            pass
        ledger.conclude()
        assert ledger.drawn == 8 * 90 - made
    same(rows_of(tmp_path), rows_of(runs["unsure"]))


def test_stored_blocks_have_a_count_for_each_kept_and_rejected_class(tmp_path: Path) -> None:
    """Of three classes: label 4 is class 1, rejected. A run without a rejector has three labels."""
    schema = PROCEDURES["certify"].schema
    fixed = {"num_classes": 3, "sampling": "fixed", "n": 100}
    rejecting = {**manifest_of(**fixed, rejector="margin:threshold=0.1"), "num_labels": 6}
    for manifest, labels in ((rejecting, 6), (manifest_of(**fixed), 3)):
        counts = np.array([0, 60, 0, 0, 40, 0] if labels == 6 else [0, 100, 0])
        with RunStore(tmp_path, "certificates", schema, manifest) as store:
            store.add_block(CountedBlock(5, Role.ESTIMATION, 0, 100, counts, 0, 0.5))
        with RunStore(tmp_path, "certificates", schema, manifest) as store:
            (block,) = store.unfinished_blocks()
            assert block.counts.tolist() == counts.tolist()
        limits = CountLimits.of(manifest["identity"], 3)
        assert limits.num_labels == labels
        assert (
            StoredCounts(tmp_path, manifest["run_id"], limits, [5]).of(5)[Role.ESTIMATION].tolist() == counts.tolist()
        )
    file = tmp_path / f"runs/{rejecting['run_id']}/manifest.json"
    file.write_text(json.dumps({**rejecting, "num_labels": 3}))
    with pytest.raises(RaysmoothError, match="num_labels is 3, expected 6, by its classes and rejector"):
        recertify(tmp_path, rejecting["run_id"], alpha=0.1)


def test_the_usual_bound_is_in_no_runs_identity(runs: dict[str, Path]) -> None:
    """Runs of versions without other bounds keep their ids."""

    def identity(kind: str) -> dict[str, Any]:
        (file,) = [
            one for one in runs[kind].glob("runs/*/manifest.json") if '"procedure": "certify"' in one.read_text()
        ]
        return json.loads(file.read_text())["identity"]

    names = {"noise_bound", "alpha_share", "rejector", "rejector_fingerprint"}
    assert not names & {*identity("none")}
    assert {name: identity("none, runner-up").get(name) for name in names} == {
        "noise_bound": "runner-up", "alpha_share": 0.5, "rejector": None, "rejector_fingerprint": None,
    }  # fmt: skip
    assert identity("unsure, theorem") == {
        **identity("none"), "noise_bound": "rejection", "alpha_share": 0.9, **UNSURE, "rejector_fingerprint": None,
    }  # fmt: skip


def test_predictions_of_a_rejecting_run_leave_rejected_draws_out() -> None:
    predict, common = PROCEDURES["predict"], {name: PLAIN[name] for name in ("dataset", "classifier", "sigma")}
    for given, rejecting in ((UNSURE, True), ({}, False)):
        settings = user_settings(predict.settings, {**common, **given})
        assert predict.rule(settings, Gaussian(0.25)) == FixedPrediction(1000, 0.001, rejecting)
    assert "count_rejected" in predict.schema.names
    assert "noise_bound" not in predict.schema.names


DECIDE = {"sampling": "decide", "radius": 0.03, "n": 400}


def test_decisions_with_a_rejector(tmp_path: Path) -> None:
    """Images whose class has less than half of the draws are certified; all readers take the rows, and without the
    rejector the same draws are judged by pA alone.
    """
    settings = {**PLAIN, **DECIDE, **UNSURE, "max": 6}
    certified(tmp_path, **settings)
    rows, counts = rows_of(tmp_path), counts_of(tmp_path)
    assert set(rows["noise_bound"]) == {"runner-up"}
    assert rows["alpha_share"].isna().all()
    for row in rows.to_dict("records"):
        selection, estimation = (counts[row["image_id"]][role] for role in CERTIFYING)
        assert row["count_top"] == estimation[int(selection[:10].argmax())]
        assert row["count_rejected"] == estimation[10:].sum()
        assert row["radius"] == (0.03 if row["decision"] == "certified" else 0.0)
    certain = rows[rows["decision"] == "certified"]
    assert (certain["count_top"] < certain["n_used"] / 2).any()
    same(recertify(tmp_path, alpha=0.1), rows)
    off = recertify(tmp_path, rejection="off")
    for row in off.to_dict("records"):
        folded = {role: own[:10] + own[10:] for role, own in counts[row["image_id"]].items()}
        expected = Decide(10, 400, 0.1, Gaussian(0.25), 0.03).conclude(folded)
        assert (row["decision"], row["count_top"], row["radius"]) == (
            expected.decision, expected.count_top, expected.radius,
        )  # fmt: skip
        assert row["noise_bound"] == "complement"
    described = describe_runs(read_certificates(tmp_path))
    assert set(described["alpha_share"]) == {1.0}  # the test does not divide it
    assert set(described["rows"]) == {6}
    assert has_usual_bound(described).all()
    with opened(tmp_path, **settings):
        pass


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"noise_bound": "rejection"}, "--noise-bound rejection counts rejected draws, and there is no rejector: write"),
    ({"noise_bound": "runner"}, "unknown noise bound 'runner': did you mean 'runner-up'"),
    ({"alpha_share": 0.9}, "--alpha-share 0.9: the complement bound gives all of alpha to pA: leave it out, or write"),
    ({"noise_bound": "runner-up", "alpha_share": 1.0}, "alpha-share 1.0: input should be less than 1"),
    ({**UNSURE, "n": 4}, "n=4 draws at alpha=0.1, 0.5 of it for pA, can only abstain: write --n 5 or more"),
    ({**UNSURE, "sampling": "adaptive"}, "--rejector needs another --sampling, as adaptive plans an image's"),
    ({"noise_bound": "runner-up", "sampling": "adaptive"}, "--noise-bound needs another --sampling, as adaptive plans"),
    ({**UNSURE, "sampling": "decide", "radius": 0.1, "alpha_share": 0.9}, "--alpha-share 0.9: --sampling decide does"),
    ({**UNSURE, "sampling": "decide", "radius": 3}, "--radius 3 at sigma 0.25 is beyond n=80 draws at alpha=0.1, even"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "expected"), REFUSED, ids=lambda value: str(value)[:40])
def test_bounds_that_do_not_fit_are_refused_in_one_line(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(RaysmoothError) as refusal:
        user_settings(PROCEDURES["certify"].settings, {**PLAIN, **changes, "max": 1})
    assert expected in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_recertifying_without_a_rejector_there_is_refused(runs: dict[str, Path]) -> None:
    run = rows_of(runs["none"])["run_id"][0]
    cases: list[tuple[dict[str, Any], str]] = [
        ({"rejection": "off"}, "has a rejector: write 'raysmooth certify --rejector'"),
        ({"rejection": "off", "runs": run}, f"--rejection off: run {run} has no rejector: choose others with --run"),
        ({"noise_bound": "rejection"}, f"--noise-bound rejection: run {run} has no rejector: choose others with --run"),
        ({"alpha_share": 0.9}, "--alpha-share 0.9: the complement bound gives all of alpha to pA"),
        ({"noise_bound": "runner-up", "alpha_share": 1.5}, "--alpha-share 1.5: write a share of alpha between 0 and 1"),
        ({"rejection": "of"}, "--rejection of: write on or off"),
    ]
    for given, expected in cases:
        with pytest.raises(RaysmoothError) as refusal:
            recertify(runs["none"], **given)
        assert expected in str(refusal.value)
    with pytest.raises(RaysmoothError, match="and --rejection off has none: leave one of them out"):
        recertify(runs["unsure"], rejection="off", noise_bound="rejection")


def test_runs_without_a_rejector_are_left_out_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain, rejecting = (certified(tmp_path, **{**PLAIN, "max": 2}, **kind) for kind in ({}, UNSURE))
    capsys.readouterr()
    new = recertify(tmp_path, rejection="off")
    assert set(new["source"]) == {f"recertified from {rejecting}"}
    assert capsys.readouterr().err == f"raysmooth: without a rejector, left out: {plain}\n"
