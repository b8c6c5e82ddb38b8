"""Runs of an API on real Ray, against a server that bills: what is paid for once, and what is never paid."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from asked_runs import QUERIES, SMALL, certified, counts_in, settings_of

import raysmooth
from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.drawing import query_driver
from raysmooth.pipeline.runs import base_run
from raysmooth.tune.fake_apis.conduct import Conduct
from raysmooth.tune.fake_apis.fakes import Running, running

DECIDE = {"sampling": "decide", "radius": 0.05}

ROWS = ["image_id", "prediction", "radius", "p_lower", "count_top", "count_rejected", "label_name", "prediction_name"]


@pytest.fixture(autouse=True)
def _on_ray(kept_replicas: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_API_KEY", "fake-key")


@pytest.fixture(scope="module")
def undisturbed(
    kept_replicas: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[pd.DataFrame, Path, Running]]:
    """The rows of SMALL, their folder, and the server that answered."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch, running("http") as fake:
        patch.setenv("FAKE_API_KEY", "fake-key")
        yield certified(fake, folder), folder, fake


def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on nothing is asked, and Ray is not used."""

    def refused(*_: Any) -> Any:
        raise AssertionError("Ray is to be used")

    monkeypatch.setattr(query_driver, "_start", lambda *_: refused)


def test_every_image_has_a_row_and_every_query_an_answer(undisturbed: tuple[pd.DataFrame, Path, Running]) -> None:
    rows, folder, fake = undisturbed
    assert rows["status"].tolist() == ["ok", "ok"]
    assert rows["reference"].tolist() == [True, True]
    assert rows["draws"].tolist() == [40, 40]
    assert rows["label_name"].notna().all()
    assert (rows["correct"] == (rows["label_name"] == rows["prediction_name"])).all()
    assert fake.bill["billed"] == fake.bill["distinct"] == QUERIES
    manifest = json.loads(next((folder / "results/runs").glob("*/manifest.json")).read_text())
    assert manifest["identity"]["classifier"].startswith("http:request=")


def test_no_key_is_in_any_file_nor_in_what_ray_knows_of_the_job(
    undisturbed: tuple[pd.DataFrame, Path, Running],
) -> None:
    import ray

    files = [file for file in undisturbed[1].rglob("*") if file.is_file()]
    assert len(files) > 8
    for file in files:
        assert b"fake-key" not in file.read_bytes(), file
    jobs = ray._private.state.state.job_table()
    assert jobs
    assert "fake-key" not in str(jobs)
    assert "fake-key" not in str(ray.get_runtime_context().runtime_env)


def test_nothing_is_paid_for_twice(
    undisturbed: tuple[pd.DataFrame, Path, Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    """n, alpha, another rule, other labels, another machine: each costs what is new."""
    rows, folder, fake = undisturbed
    with pytest.MonkeyPatch.context() as patch:
        no_ray(patch)
        again = certified(fake, folder)
        assert again["run_id"].tolist() == rows["run_id"].tolist()
        patch.setattr(base_run, "package_version", lambda package: "2.99")  # another torch, numpy, Pillow
        other = certified(fake, folder, cpus_per_replica=2, replicas=1)
        assert other["run_id"].tolist() == rows["run_id"].tolist()
        fewer = certified(fake, folder, n=20)
        assert fewer["run_id"].iloc[0] != rows["run_id"].iloc[0]
        for changes in ({"alpha": 0.1}, {"label_rule": "leaf"}, {"accepted": "numbers"}, DECIDE):
            certified(fake, folder, **{"n": 30, **changes})
        raysmooth.predict(progress=False, **{k: v for k, v in settings_of(fake, folder).items() if k != "n0"})
    assert fake.bill["billed"] == QUERIES
    certified(fake, folder, n=40)
    assert fake.bill["billed"] == QUERIES + 2 * 10
    certified(fake, folder, sigma=[0.25, 0.5])
    assert fake.bill["billed"] == QUERIES + 2 * 10 + 2 * 40  # the images themselves are not asked again
    assert fake.bill["most_times"] == 1


def test_offline_needs_no_network_and_says_what_is_missing(
    undisturbed: tuple[pd.DataFrame, Path, Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, folder, fake = undisturbed
    monkeypatch.delenv("FAKE_API_KEY")
    no_ray(monkeypatch)

    def refused(*given: Any) -> Any:
        raise AssertionError(f"a connection to {given}")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket.socket, "connect_ex", refused)
    offline = certified(fake, folder, offline=True, alpha=0.02)
    assert offline["prediction"].tolist() == rows["prediction"].tolist()
    with pytest.raises(RaysmoothError, match="offline: the query logs lack 80 answers"):
        certified(fake, folder, offline=True, seed=3)


def test_throttling_and_the_order_of_arrival_change_nothing(
    undisturbed: tuple[pd.DataFrame, Path, Running], tmp_path: Path
) -> None:
    conduct = Conduct(throttle=0.2, seed=1, retry_after=0.01, unavailable=0.05, latency=0.002)
    with running("http", conduct) as fake:
        rows = certified(fake, tmp_path)
        assert fake.bill["throttled"] > 0
        assert fake.bill["billed"] == fake.bill["distinct"] == QUERIES
    pd.testing.assert_frame_equal(rows[ROWS], undisturbed[0][ROWS])


def test_a_refused_picture_counts_in_n_and_against_the_prediction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    google = "google:transport=rest,key_env=GOOGLE_API_KEY"  # whose answers say of each picture what is wrong with it
    monkeypatch.setenv("GOOGLE_API_KEY", "fake-key")
    with running("google-rest", Conduct(refuse=0.4)) as fake:
        rows = certified(fake, tmp_path, classifier=google)
        assert fake.bill["refused"] > 0
    assert rows["count_rejected"].sum() > 0
    assert rows["draws"].tolist() == [40, 40]
    assert rows["n_used"].tolist() == [30, 30]
    counts = counts_in(tmp_path / "results")
    assert counts["counts"].map(sum).tolist() == counts["draws"].tolist()
    assert counts["invalid"].sum() == 0


def test_a_budget_is_never_exceeded_and_a_larger_one_resumes(tmp_path: Path) -> None:
    with running("http", Conduct(latency=0.005)) as fake:
        with pytest.raises(RaysmoothError, match="budget is spent") as stopped:
            certified(fake, tmp_path, max_queries=50)
        assert "\n" not in str(stopped.value)
        assert fake.bill["billed"] == 50
        with pytest.raises(RaysmoothError, match="budget is spent"):
            certified(fake, tmp_path, budget=0.09)  # dollars, of which 0.075 are gone
        assert fake.bill["billed"] == 60
        rows = certified(fake, tmp_path, budget=1.0)
        assert fake.bill["billed"] == fake.bill["distinct"] == QUERIES
    assert len(rows) == 2


def test_a_model_that_changes_stops_the_run_and_both_versions_are_named(tmp_path: Path) -> None:
    with running("http", Conduct(change_after=30)) as fake:
        with pytest.raises(RaysmoothError, match="2026-01-15 to 2026-06-30"):
            certified(fake, tmp_path)
        billed = fake.bill["billed"]
        with pytest.raises(RaysmoothError, match="several versions"):  # and stays stopped
            certified(fake, tmp_path)
        assert fake.bill["billed"] == billed


FATAL = {
    "a wrong key": (Conduct(key="another"), "key"),
    "an exhausted quota": (Conduct(quota=5), "HTTP 4|quota|exhausted"),
}


@pytest.mark.parametrize("what", FATAL)
def test_what_no_request_can_mend_stops_the_run_at_once(what: str, tmp_path: Path) -> None:
    conduct, message = FATAL[what]
    with running("http", conduct) as fake:
        with pytest.raises(RaysmoothError, match=message) as stopped:
            certified(fake, tmp_path)
        assert fake.bill["requests"] <= 5 + 2 * 8  # those that were in flight
    assert "\n" not in str(stopped.value)
    assert "fake-key" not in str(stopped.value)


def test_a_missing_key_is_refused_before_anything_is_opened(
    undisturbed: tuple[pd.DataFrame, Path, Running], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FAKE_API_KEY")
    with pytest.raises(RaysmoothError, match="FAKE_API_KEY"):
        certified(undisturbed[2], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["request.yaml"]
    # Where all answers are there, no key is needed.
    rows = certified(undisturbed[2], undisturbed[1])
    assert len(rows) == 2


def test_an_open_vocabulary_of_5000_labels(tmp_path: Path) -> None:
    with running("http", Conduct(vocabulary=5000, strange=0.9)) as fake:
        rows = certified(fake, tmp_path, n=60)
    names = json.loads((tmp_path / "results/queries/vocabulary.json").read_text())["labels"]
    assert len(names) > 60
    assert len(set(names)) == len(names)
    counts = counts_in(tmp_path / "results")
    assert counts["labels"].map(max).max() < 2 * 16384
    assert rows["abstain"].tolist() == [True, True]
    assert rows["label_name"].isin(names).all()


def test_settings_of_several_apis_and_of_a_network_give_their_runs_in_order(
    undisturbed: tuple[pd.DataFrame, Path, Running], tmp_path: Path
) -> None:
    from raysmooth.common.settings import checked
    from raysmooth.pipeline.drawing.driver import run_all
    from raysmooth.pipeline.runs.procedures import PROCEDURES

    certify = PROCEDURES["certify"]
    _, folder, fake = undisturbed
    local = {**SMALL, "dataset": "digits", "classifier": "base_classifiers:Linear", "out": str(tmp_path / "local")}
    with running("http") as other:
        values = [
            settings_of(fake, folder),
            {**local, "replicas": 1},
            settings_of(other, tmp_path, sigma=[0.5, 0.25]),
        ]
        ids = run_all(certify, [checked(certify.settings, {**one, "trust_code": True}) for one in values], False)
    assert [len(own) for own in ids] == [1, 1, 2]
    assert ids[0][0] == undisturbed[0]["run_id"].iloc[0]
    assert {path.name for path in (tmp_path / "results/runs").iterdir()} == set(ids[2])
    assert {path.name for path in (tmp_path / "local/runs").iterdir()} == set(ids[1])


def test_status_says_what_is_spent(undisturbed: tuple[pd.DataFrame, Path, Running]) -> None:
    from raysmooth.commands.status_table import records
    from raysmooth.pipeline.status.run_status import StatusReader

    (first, *_) = records(StatusReader(undisturbed[1] / "results").read())
    assert first["queries"]["queries"] >= QUERIES
    assert first["queries"]["spent"] == pytest.approx(0.0015 * first["queries"]["queries"])
    assert first["queries"]["unanswered"] == 0
