"""Metrics as Prometheus finds them, over HTTP from a real Ray, and the dashboard that asks for them."""

import json
import re
import time
import urllib.request
from itertools import combinations
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
import ray
from asked_runs import settings_of
from conftest import REPOSITORY

import raysmooth
from raysmooth.pipeline.pool import metrics as ray_metrics
from raysmooth.pipeline.pool.metrics import METRICS, exported
from raysmooth.pipeline.store.run_store import RunStore
from raysmooth.tune.fake_apis.conduct import Conduct
from raysmooth.tune.fake_apis.fakes import running

DASHBOARD = json.loads((REPOSITORY / "clusters" / "grafana-dashboard.json").read_text())

SMALL: dict[str, Any] = {"n0": 50, "n": 450, "block_size": 50, "batch_size": 50, "alpha": 0.01, "replicas": 1}
SMALL |= {"precision": "float32"}
"""An image is a unit of 50 selection draws and nine of 50 estimation draws."""


def scraped() -> dict[tuple[str, str], float]:
    """The value of each of our metrics, by name and run, as it comes from Ray's metrics port."""
    (node,) = (node for node in ray.nodes() if node["Alive"])
    address = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    text = urllib.request.urlopen(address, timeout=10).read().decode()  # which asks for no token
    found: dict[tuple[str, str], float] = {}
    for name, tags, value in re.findall(r"^(ray_raysmooth_\w+)\{(.*)\} (\S+)$", text, re.MULTILINE):
        label = dict(re.findall(r'(\w+)="([^"]*)"', tags))
        if label.get("le", "+Inf") == "+Inf":
            key = name, label.get("run", "")
            # A counter has a series for each process that counted, those that have ended too.
            found[key] = float(value) + (found.get(key, 0) if name.endswith("_total") else 0)
    return found


def of_run(statuses: list[str], draws: int, units: int, **settings: Any) -> dict[tuple[str, str], float]:
    """The last value of every metric of a run, whose images end as `statuses`."""
    rows = raysmooth.certify(progress=False, **settings)
    assert rows.status.tolist() == statuses
    run = str(rows.run_id[0])
    return {
        ("ray_raysmooth_draws_total", run): draws,
        ("ray_raysmooth_images_total", run): len(statuses),
        ("ray_raysmooth_errors", run): statuses.count("error"),
        ("ray_raysmooth_images_left", run): 0,
        ("ray_raysmooth_unit_seconds_count", run): units,
        ("ray_raysmooth_unit_seconds_bucket", run): units,
        ("ray_raysmooth_replicas", ""): 0,
        ("ray_raysmooth_units_in_flight", ""): 0,
        ("ray_raysmooth_units_waiting", ""): 0,
    }


class Scraper:
    """Looks at the metrics again and again, as Prometheus does: a gauge disappears after 20 s. `found`: last values."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, str], float] = {}
        self._over = Event()
        self._thread = Thread(target=self._scrape, daemon=True)

    def __enter__(self) -> "Scraper":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _scrape(self) -> None:
        while not self._over.wait(0.3):
            self.found = self.found | scraped()

    def wait_for(self, expected: dict[tuple[str, str], float]) -> None:
        deadline = time.monotonic() + 120
        while missing := {name for name, value in expected.items() if self.found.get(name) != pytest.approx(value)}:
            assert time.monotonic() < deadline, {name: self.found.get(name) for name in missing}
            time.sleep(0.1)


def test_metrics_of_runs(
    tmp_path: Path, ray_cluster: object, picture_file: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_API_KEY", "fake-key")
    local = {"sigma": 0.25, "out": str(tmp_path), **SMALL}
    # The second kills its replica, three times; the third cannot be read.
    bad = picture_file([(0.3, 1), (0.95, 1), (b"no picture", 2), (0.4, 3)])
    pictures = {"dataset": "parquet", "data_root": bad, "classifier": "base_classifiers:Kills"}
    digits = {"dataset": "digits", "max": 4, "classifier": "base_classifiers:Linear"}
    with Scraper() as metrics, running("http", Conduct(throttle=0.2, seed=1, retry_after=0.01)) as fake:
        expected = of_run(["ok"], 100, 2, **settings_of(fake, tmp_path, n0=50, n=50, block_size=50, max=1))
        assert fake.bill["throttled"] > 0
        expected |= {("ray_raysmooth_queries_waiting", ""): 0}
        expected |= {("ray_raysmooth_queries_throttled", ""): fake.bill["throttled"]}
        expected |= {("ray_raysmooth_dollars", ""): 101 * 0.0015}
        expected |= of_run(["ok"] * 4, 4 * 500, 4 * 10, **local, **digits)
        expected |= of_run(["ok", "error", "error", "ok"], 2 * 500, 2 * 10, **local, **pictures)
        metrics.wait_for(expected)
    assert metrics.found["ray_raysmooth_queries_total", ""] >= 101  # runs of other tests ask too
    assert metrics.found["ray_raysmooth_replica_deaths", ""] >= 3
    assert metrics.found["ray_raysmooth_units_drawn_again", ""] >= 3
    assert {name for name, _ in metrics.found} == {name for metric in METRICS for name in exported(metric)}


def test_a_run_continues_when_nothing_can_be_published(
    tmp_path: Path, ray_cluster: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def fail(*_: Any) -> Any:
        asked.append(_)
        raise OSError("no")

    monkeypatch.setattr(ray_metrics, "_ray_metric", fail)
    monkeypatch.setattr(RunStore, "write_progress", fail)
    rows = raysmooth.certify(
        progress=False, out=str(tmp_path), sigma=0.25, dataset="digits", max=3, classifier="base_classifiers:Linear",
        **SMALL,
    )  # fmt: skip
    assert (rows.status == "ok").sum() == 3
    assert len(asked) >= 3
    assert not [*tmp_path.glob("runs/*/progress.json")]


def expressions() -> list[str]:
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


def test_the_dashboard_asks_for_existing_metrics_and_shows_all_of_them() -> None:
    asked = {name for expression in expressions() for name in re.findall(r"\bray_\w+", expression)}
    there = {name: metric for metric in METRICS for name in exported(metric)}
    assert asked <= there.keys()
    assert {there[name] for name in asked} == set(METRICS)
    # A histogram's sum is a guess of Ray's.
    assert "ray_raysmooth_unit_seconds_sum" in there
    assert "ray_raysmooth_unit_seconds_sum" not in asked
    # Only metrics that have a tag `run` may be asked for one.
    for expression in expressions():
        for name, matcher in re.findall(r"\b(ray_\w+)(\{[^}]*\})?", expression):
            assert matcher == ('{run=~"$run"}' if METRICS[there[name]].of_run else ""), expression


def test_the_dashboard_is_one() -> None:
    panels, variables = DASHBOARD["panels"], {one["name"]: one for one in DASHBOARD["templating"]["list"]}
    assert DASHBOARD["title"] == "raysmooth"
    assert DASHBOARD["schemaVersion"] >= 36
    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["query"] == "prometheus"
    assert variables["run"]["query"]["query"] == "label_values(ray_raysmooth_images_left, run)"
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        assert panel["type"] in ("stat", "timeseries")
        assert panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        place = panel["gridPos"]
        assert min(place.values()) >= 0
        assert place["x"] + place["w"] <= 24
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references) >= 1
        for user in (panel, *panel["targets"], variables["run"]):
            assert user["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    for one, other in combinations([panel["gridPos"] for panel in panels], 2):
        apart = [
            one[x] + one[width] <= other[x] or other[x] + other[width] <= one[x]
            for x, width in (("x", "w"), ("y", "h"))
        ]
        assert any(apart), (one, other)


def test_the_readme_names_every_metric() -> None:
    readme = (REPOSITORY / "README.md").read_text()
    for metric in METRICS:
        names = exported(metric)
        assert any(f"`{name}`" in readme for name in names), names
