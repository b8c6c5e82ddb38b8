"""How a run is computed is chosen once, for all that is planned together, and read from the manifest ever after."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from raysmooth.actors.compute.compute_config import ComputeChoice, ComputeConfig, ComputeRequest
from raysmooth.actors.models.steadiness import BY_BATCH, RANDOM
from raysmooth.actors.replica.replica_identity import ReplicaIdentity
from raysmooth.common.settings import user_settings
from raysmooth.pipeline.runs.compute_choice import ChosenRun, choose_compute_configs
from raysmooth.pipeline.runs.prepare import prepare
from raysmooth.pipeline.runs.procedures import PROCEDURES
from raysmooth.pipeline.runs.run import Run
from raysmooth.pipeline.store.run_store import RunStore

REPLICA = ReplicaIdentity("cpu of some kind", "2.15", "2.4", "node", 1)
FOUND = ComputeChoice(
    ComputeConfig("bfloat16", True, 500), 1234.5, "measured; compiled: 2.0 times as fast", [{"batch_size": 500}]
)
OTHER = ComputeConfig("float32", False, 50)


def planned(out: Path, **changes: Any) -> list[Run]:
    values = {
        "dataset": "digits",
        "classifier": "base_classifiers:Linear",
        "sigma": 0.25,
        "max": 20,
        "n": 500,
        "n0": 40,
    }
    procedure = PROCEDURES["certify"]
    return prepare(procedure, user_settings(procedure.settings, {**values, "out": str(out), **changes}))


class Probe:
    """What a replica would answer, and what it was asked."""

    def __init__(self, *answers: ComputeConfig) -> None:
        self.answers = list(answers or [FOUND.compute])
        self.asked: list[tuple[Any, ...]] = []

    def __call__(self, *question: Any) -> ComputeChoice:
        self.asked.append(question)
        return dataclasses.replace(FOUND, compute=self.answers.pop(0))


def begin(chosen: ChosenRun, started: str = "2026-01-01T00:00:00+00:00", replica: ReplicaIdentity = REPLICA) -> Path:
    """Begin the run as the driver does; its manifest."""
    procedure, manifest = (
        PROCEDURES["certify"],
        chosen.run.manifest(replica, chosen.manifest_entry) | {"started": started},
    )
    with RunStore(chosen.run.settings.out, procedure.folder, procedure.schema, manifest) as store:
        return Path(chosen.run.settings.out) / "runs" / store.run_id / "manifest.json"


def test_a_classifier_that_is_random_is_said_in_the_manifest(tmp_path: Path) -> None:
    (module,) = choose_compute_configs(planned(tmp_path, classifier="base_classifiers:Undecided"), REPLICA, 1, Probe())
    assert json.loads(begin(module).read_text())["warnings"] == [RANDOM]
    (hidden,) = planned(tmp_path, classifier="base_classifiers:by_the_batch")  # a module inside a function
    assert hidden.unsteady == BY_BATCH
    # Labels may agree by luck: then the replica's probe says so.
    runs = planned(tmp_path, classifier="base_classifiers:UndecidedLabels", sigma="0.25,0.5")
    for one in choose_compute_configs(runs, REPLICA, 1, lambda *_: dataclasses.replace(FOUND, unsteady=RANDOM)):
        assert json.loads(begin(one).read_text())["warnings"] == [RANDOM]
    (steady,) = choose_compute_configs(planned(tmp_path), REPLICA, 1, Probe())
    assert json.loads(begin(steady).read_text())["warnings"] == []


def never(*_: Any) -> ComputeChoice:
    raise AssertionError("a replica was asked how to compute")


def configs(chosen: list[ChosenRun]) -> list[ComputeConfig | None]:
    return [choice.run.compute for choice in chosen]


def test_auto_is_asked_once_and_a_second_session_reads_the_manifest(tmp_path: Path) -> None:
    probe = Probe()
    (first,) = choose_compute_configs(planned(tmp_path), REPLICA, 1, probe)
    manifest = begin(first)
    (second,) = choose_compute_configs(planned(tmp_path), REPLICA, 1, never)
    assert first.run.compute == second.run.compute == FOUND.compute
    assert begin(second) == manifest
    assert json.loads(manifest.read_text())["compute"] == {
        "why": FOUND.why,
        "draws_per_second": FOUND.draws_per_second,
        "tried": FOUND.tried,
    }


def test_the_probe_hears_what_is_asked_for_and_of_all_draws_of_a_replica(tmp_path: Path) -> None:
    probe = Probe()
    runs = planned(tmp_path, sigma="0.25,0.5", precision="float32", compile="off")
    choose_compute_configs(runs, REPLICA, 4, probe)
    # Two sigmas of 20 images of 540 draws, on four replicas.
    assert probe.asked == [(runs[0].base, (1, 8, 8), ComputeRequest("float32", "off", None), 2 * 20 * 540 // 4)]


def test_the_sigmas_of_a_job_share_a_path(tmp_path: Path) -> None:
    chosen = choose_compute_configs(planned(tmp_path, sigma="0.25,0.5,1.0"), REPLICA, 1, Probe(OTHER))
    assert configs(chosen) == [OTHER] * 3
    for choice in chosen:
        begin(choice)
    # A sigma that comes later is computed as those before it were.
    later = choose_compute_configs(planned(tmp_path, sigma="0.12,0.25"), REPLICA, 1, never)
    assert configs(later) == [OTHER] * 2
    assert "earlier run" in later[0].manifest_entry["why"]


def test_other_networks_are_asked_about_by_themselves(tmp_path: Path) -> None:
    runs = [*planned(tmp_path), *planned(tmp_path, classifier="base_classifiers:Linear:seed=4")]
    probe = Probe(OTHER, FOUND.compute)
    assert configs(choose_compute_configs(runs, REPLICA, 1, probe)) == [OTHER, FOUND.compute]
    assert [question[-1] for question in probe.asked] == [20 * 540] * 2


@pytest.mark.parametrize(
    "flags",
    [{"precision": "float32"}, {"compile": "off"}, {"batch_size": 499}],
    ids=lambda flags: next(iter(flags)),
)
def test_a_flag_that_does_not_fit_the_begun_run_makes_another(tmp_path: Path, flags: dict[str, Any]) -> None:
    (first,) = choose_compute_configs(planned(tmp_path), REPLICA, 1, Probe())
    begun = begin(first)
    (second,) = choose_compute_configs(planned(tmp_path, **flags), REPLICA, 1, Probe(OTHER))
    assert second.run.compute == OTHER
    assert begin(second) != begun


@pytest.mark.parametrize("flags", [{"precision": "bfloat16"}, {"compile": "on"}, {"batch_size": 500}])
def test_a_flag_that_fits_the_begun_run_goes_on_with_it(tmp_path: Path, flags: dict[str, Any]) -> None:
    (first,) = choose_compute_configs(planned(tmp_path), REPLICA, 1, Probe())
    begun = begin(first)
    (second,) = choose_compute_configs(planned(tmp_path, **flags), REPLICA, 1, never)
    assert begin(second) == begun


def test_the_first_begun_of_several_wins(tmp_path: Path) -> None:
    for started, compute in (("2026-01-02", FOUND.compute), ("2026-01-01", OTHER), ("2026-01-03", FOUND.compute)):
        (run,) = planned(tmp_path)
        number = int(started[-1])
        begin(
            ChosenRun(dataclasses.replace(run, compute=dataclasses.replace(compute, batch_size=number)), FOUND), started
        )
    (chosen,) = choose_compute_configs(planned(tmp_path), REPLICA, 1, never)
    assert chosen.run.compute == ComputeConfig("float32", False, 1)
    # Of those that fit what is asked for.
    (chosen,) = choose_compute_configs(planned(tmp_path, precision="bfloat16"), REPLICA, 1, never)
    assert chosen.run.compute == ComputeConfig("bfloat16", True, 2)


@pytest.mark.parametrize(
    "content", ["", "{ cut off", "[]", '{"identity": 3}', '{"identity": {"precision": "float32"}}']
)
def test_corrupt_manifests_are_skipped(tmp_path: Path, content: str) -> None:
    (tmp_path / "runs/0000").mkdir(parents=True)
    (tmp_path / "runs/0000/manifest.json").write_text(content)
    (first,) = choose_compute_configs(planned(tmp_path), REPLICA, 1, Probe(OTHER))
    begin(first)
    (second,) = choose_compute_configs(planned(tmp_path), REPLICA, 1, never)
    assert configs([first, second]) == [OTHER] * 2


@pytest.mark.parametrize(
    "change", [{"n": 501}, {"seed": 1}, {"sampling": "adaptive"}, {"classifier": "base_classifiers:Linear:seed=4"}]
)
def test_another_run_in_the_folder_decides_nothing(tmp_path: Path, change: dict[str, Any]) -> None:
    (first,) = choose_compute_configs(planned(tmp_path), REPLICA, 1, Probe())
    begin(first)
    (second,) = choose_compute_configs(planned(tmp_path, **change), REPLICA, 1, Probe(OTHER))
    assert second.run.compute == OTHER


def test_another_kind_of_device_is_probed_again(tmp_path: Path) -> None:
    (first,) = choose_compute_configs(planned(tmp_path), REPLICA, 1, Probe())
    begin(first)
    elsewhere = dataclasses.replace(REPLICA, device="gpu of some kind")
    (second,) = choose_compute_configs(planned(tmp_path), elsewhere, 1, Probe(OTHER))
    assert second.run.compute == OTHER


def test_what_timing_chose_is_named_with_the_flags_that_fix_it(tmp_path: Path) -> None:
    (first,) = choose_compute_configs(planned(tmp_path), REPLICA, 1, Probe())
    flags = "--precision bfloat16 --compile on --batch-size 500"
    assert first.by_timing
    assert first.describe() == (
        f"chosen by timing: {flags} (measured; compiled: 2.0 times as fast); in another --out the same command may "
        "choose otherwise and begin another run: these flags fix it"
    )
    begun = begin(first)
    asked = {"precision": "bfloat16", "compile": "on", "batch_size": 500}
    for values in ({}, asked):
        (again,) = choose_compute_configs(planned(tmp_path, **values), REPLICA, 1, never)
        assert not again.by_timing
        assert again.describe() == f"computing as an earlier run of these networks does: {flags}"
    # Elsewhere these flags lead to the same run, whatever timing would choose there.
    elsewhere = tmp_path / "elsewhere"
    (fixed,) = choose_compute_configs(planned(elsewhere, **asked), REPLICA, 1, Probe())
    assert (fixed.by_timing, fixed.describe()) == (False, f"computing as requested: {flags}")
    assert begin(fixed).parent.name == begun.parent.name


def test_what_is_chosen_without_a_benchmark_is_not_said_to_be_timed(tmp_path: Path) -> None:
    choice = dataclasses.replace(FOUND, tried=[], why="less than 20 s of work")
    (chosen,) = choose_compute_configs(planned(tmp_path), REPLICA, 1, lambda *_: choice)
    assert chosen.describe().startswith("chosen here: --precision bfloat16 --compile on --batch-size 500 (less than")
    assert chosen.by_timing
