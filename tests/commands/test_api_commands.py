"""The command line with an API: what it will cost, kills at the worst moment, Ctrl-C, and refusals in one line."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from asked_runs import QUERIES, certified, counts_in, flags_of, settings_of
from command import command, refused
from conftest import REPOSITORY
from preloaded import PreloadedCommand

import raysmooth
from raysmooth.commands.catalogue import CATALOGUE, CLIENTS
from raysmooth.pipeline.status.run_status import StatusReader
from raysmooth.tune.fake_apis.conduct import Conduct
from raysmooth.tune.fake_apis.fakes import Running, running

LARGER = {"max": 2, "n": 40, "budget": 1}
LARGER_QUERIES = 2 * (1 + 10 + 40)
AT_ONCE = 2
IN_FLIGHT = 2 * AT_ONCE
"""Queries that a replica has been given: twice those that it sends at once."""

ROWS = ["image_id", "label", "prediction", "radius", "p_lower", "count_top", "count_rejected", "n_used", "draws"]


@pytest.fixture
def slow(kept_replicas: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """A server whose answers take so long that a run can be caught in the middle."""
    monkeypatch.setenv("FAKE_API_KEY", "fake-key")
    with running("http", Conduct(latency=0.1)) as fake:
        yield fake


def started(fake: Running, folder: Path, environment: dict[str, str], least: int) -> PreloadedCommand:
    """`raysmooth certify` of LARGER in a process of its own, which asks slowly, once it has been billed for that many
    pictures.
    """
    flags = flags_of(settings_of(fake, folder, **LARGER, concurrency=AT_ONCE))
    environment = {**environment, "FAKE_API_KEY": "fake-key"}
    process = PreloadedCommand(["certify", *flags], environment, REPOSITORY)
    deadline = time.monotonic() + 240
    while fake.bill["billed"] < least:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return process


def test_a_killed_driver_loses_what_was_in_flight_and_nothing_else(
    slow: Running, tmp_path: Path, ray_cluster: dict[str, str]
) -> None:
    process = started(slow, tmp_path, ray_cluster, 20)
    process.kill()
    process.wait(60)
    (killed,) = StatusReader(tmp_path / "results").read()
    assert killed.queries is not None
    assert killed.queries.queries >= slow.bill["billed"] >= 20  # read from the log: the driver has not said it
    assert killed.queries.left == pytest.approx(1 - killed.queries.spent)
    rows = certified(slow, tmp_path, **LARGER)
    assert LARGER_QUERIES <= slow.bill["billed"] <= LARGER_QUERIES + IN_FLIGHT
    assert slow.bill["distinct"] == LARGER_QUERIES
    (tmp_path / "other").mkdir()
    undisturbed = certified(slow, tmp_path / "other", **LARGER)
    pd.testing.assert_frame_equal(rows[ROWS], undisturbed[ROWS])
    found, expected = (counts_in(folder / "results") for folder in (tmp_path, tmp_path / "other"))
    pd.testing.assert_frame_equal(found, expected)


def test_ctrl_c_waits_for_what_is_paid_and_pays_nothing_twice(
    slow: Running, tmp_path: Path, ray_cluster: dict[str, str]
) -> None:
    process = started(slow, tmp_path, ray_cluster, 20)
    process.send_signal(signal.SIGINT)
    assert process.wait(120) == 130
    _, err = process.communicate()
    assert "queries: " in err
    assert "fake-key" not in err
    stopped = slow.bill["billed"]
    assert 20 <= stopped < LARGER_QUERIES
    certified(slow, tmp_path, **LARGER)
    assert slow.bill["billed"] == slow.bill["distinct"] == LARGER_QUERIES
    assert slow.bill["most_times"] == 1


@pytest.fixture(scope="module")
def fake() -> Iterator[Running]:
    with running("http") as server:
        yield server


@pytest.fixture(autouse=True)
def _with_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_API_KEY", "fake-key")
    monkeypatch.setenv("COLUMNS", "80")


def test_certify_and_predict_say_what_was_sent_and_where_the_answers_are(
    fake: Running, tmp_path: Path, kept_replicas: None, capsys: pytest.CaptureFixture[str]
) -> None:
    before = fake.bill["billed"]
    settings = settings_of(fake, tmp_path)
    code, _, err = command(capsys, "certify", *flags_of(settings))
    assert code == 0, err
    assert f"queries: {QUERIES} sent for $0.13" in err
    assert f"answers: {tmp_path / 'results/queries'}" in err
    assert "correct means the API's own answer" in err
    predicted = {name: value for name, value in settings.items() if name != "n0"}
    code, out, err = command(capsys, "predict", *flags_of(predicted))
    assert code == 0, err
    assert "2 images" in out
    assert "queries: 0 sent for $0.00; in all sessions 82 for $0.13" in err
    assert fake.bill["billed"] - before == QUERIES
    code, out, err = command(capsys, "status", settings["out"])
    assert "82 queries sent for $0.13" in " ".join(out.split())


def test_a_dry_run_sends_nothing_and_says_what_it_would_cost(
    fake: Running, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FAKE_API_KEY")  # no key is needed to plan
    before = fake.bill["requests"]
    flags = flags_of(settings_of(fake, tmp_path, sigma="0.25,0.5", rate="10/s", price_per_1000=1.5))
    code, out, err = command(capsys, "certify", *flags, "--dry-run")
    assert code == 0, err
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "images to do 2 2 4" in lines
    assert "queries an image 41 41" in lines
    assert "answered already 0 2 2" in lines  # the images themselves are asked once for all levels
    assert "queries to send 82 80 162" in lines
    assert "dollars $0.13 $0.12 $0.25" in lines  # never less than it will cost
    assert "time at 10/s 8 s 8 s 16 s" in lines
    assert max(map(len, out.splitlines())) <= 80
    planned = raysmooth.estimate(
        progress=False, **settings_of(fake, tmp_path, sigma=[0.25, 0.5], rate="10/s", price_per_1000=1.5)
    )
    assert planned["to_send"].tolist() == [82, 80]
    assert planned["dollars"].tolist() == pytest.approx([0.123, 0.12])
    assert fake.bill["requests"] == before
    assert not (tmp_path / "results").exists()


BUDGETS = {
    "max_queries": (
        100,
        "room for 100 queries, and 162 queries for $0.25 are to be sent: it reaches 2 whole images of 4",
    ),
    "budget": (0.06, "room for 40 queries, and 162 queries for $0.25 are to be sent: it reaches 0 whole images of 4"),
}


@pytest.mark.parametrize("limit", BUDGETS)
def test_a_dry_run_above_the_budget_says_how_far_it_reaches(
    limit: str, fake: Running, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    value, words = BUDGETS[limit]
    flags = flags_of(settings_of(fake, tmp_path, sigma="0.25,0.5", **{limit: value}))
    code, out, err = command(capsys, "certify", *flags, "--dry-run")
    assert code == 2
    assert "queries to send" in out
    line = err.splitlines()[-1]
    assert words in line
    assert f"write --{limit.replace('_', '-')} {162 if limit == 'max_queries' else 0.25} or more" in line
    enough = flags_of(settings_of(fake, tmp_path, sigma="0.25,0.5", max_queries=162))
    assert command(capsys, "certify", *enough, "--dry-run")[0] == 0


REFUSED = [
    (["optimize-sigma", "--sigma", "0.25"], "a vision API has neither weights nor gradients here"),
    (["train", "classifier", "--out", "x.safetensors", "--epochs", "1"], "neither weights nor gradients here"),
    (
        ["train", "denoiser", "--out", "x.safetensors", "--epochs", "1", "--denoiser", "dncnn", "--objective", "stab",
         "--sigma", "0.25"],
        "neither weights nor gradients here",
    ),
    (["train", "rejector", "--out", "x.safetensors", "--epochs", "1", "--sigma", "0.25"], "neither weights nor"),
    (["gallery", "--denoiser-weights", "x.safetensors", "--sigma", "0.25"], "neither weights nor gradients here"),
    (["certify", "--sigma", "0.25", "--search", "grid"], "--search with --classifier google: levels are found"),
    (["certify", "--sigma", "0.25", "--rejector", "margin:threshold=0.1"], "an API answers labels"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "message"), REFUSED, ids=lambda value: "" if isinstance(value, str) else value[0])
def test_what_needs_a_network_refuses_an_api_in_one_line(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in refused(capsys, *words, "--dataset", "digits", "--classifier", "google")


def test_surrogates_are_no_apis(capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "train",
        "denoiser",
        "--dataset",
        "digits",
        "--denoiser",
        "dncnn",
        "--objective",
        "stab",
        "--sigma",
        "0.25",
    ]
    line = refused(capsys, *words, "--surrogates", "google@x.pth", "--out", "x.safetensors", "--epochs", "1")
    assert "--surrogates google: surrogates are trained through, and a vision API has neither" in line


def test_the_list_of_apis_has_prices_limits_and_what_to_install() -> None:
    import tomllib

    rows = {row["api"]: row for row in CATALOGUE["apis"]()}
    assert rows["google"]["$/1,000"] == "$1.50"
    assert rows["aws"]["limits"].startswith("pictures from 80 px a side")
    assert rows["azure"]["install"] == "raysmooth[azure]"
    assert rows["http"]["install"] == "-"
    assert rows["clarifai"]["$/1,000"] == "?"
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {*CLIENTS} == {*extras} & {*rows}
