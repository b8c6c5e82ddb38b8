"""A run of a vision API before anything is asked: its identity, its labels, and what is refused."""

import dataclasses
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scripted_api import ScriptedApi, entry

from raysmooth.actors.apis import apis
from raysmooth.actors.apis.answers import Tag
from raysmooth.actors.noise.role import Role
from raysmooth.actors.queries.draw_key import DrawKey, image_digest
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.settings import checked
from raysmooth.pipeline.data.images import Example
from raysmooth.pipeline.queries.labelling import Labelling
from raysmooth.pipeline.runs import base_run
from raysmooth.pipeline.runs.apis.api_run import NO_REPLICA, ApiRun
from raysmooth.pipeline.runs.prepare import prepare
from raysmooth.pipeline.runs.procedures import PROCEDURES
from raysmooth.pipeline.store.manifest import run_id
from raysmooth.pipeline.store.manifest_record import check_manifest
from raysmooth.storage.records import BadRecord

CERTIFY = PROCEDURES["certify"]


@pytest.fixture(autouse=True)
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, facts in {
        "scripted": {},
        "listed": {"closed_labels": lambda options: ["dark", "grey", "bright"]},
    }.items():
        monkeypatch.setitem(apis.VISION_APIS._entries, name, entry(ScriptedApi, **facts))
    large = entry(ScriptedApi, least_side=50, price_per_1000=2.0)
    monkeypatch.setitem(apis.VISION_APIS._entries, "large", large)


def planned(out: Path, **changes: Any) -> list[ApiRun]:
    values = {"dataset": "digits", "classifier": "scripted", "sigma": 0.25, "n": 100, "n0": 20, "max": 3}
    runs = prepare(CERTIFY, checked(CERTIFY.settings, {**values, "out": str(out), **changes}))
    assert all(isinstance(run, ApiRun) for run in runs)
    return [run for run in runs if isinstance(run, ApiRun)]


def test_an_identity_has_no_device_and_no_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (run,) = planned(tmp_path)
    first = run_id(run.identity(NO_REPLICA))
    assert not {"device", "threads", "torch", "numpy", "pillow", "torchvision", "scipy"} & {*run.identity(NO_REPLICA)}
    monkeypatch.setattr(base_run, "package_version", lambda package: f"another {package}")
    monkeypatch.setattr(base_run, "git_commit", lambda: "another")
    (again,) = planned(tmp_path, cpus_per_replica=2, concurrency=3, rate="7/s", timeout=5.0, budget=None)
    assert run_id(again.identity(NO_REPLICA)) == first


def test_the_noise_names_the_queries_and_not_n_nor_the_rule(tmp_path: Path) -> None:
    (run,) = planned(tmp_path)
    for same in ({"n": 1000}, {"alpha": 0.01}, {"label_rule": "leaf"}, {"block_size": 10}, {"accepted": "numbers"}):
        (other,) = planned(tmp_path, **same)
        assert other.queries == run.queries
        assert run_id(other.identity(NO_REPLICA)) != run_id(run.identity(NO_REPLICA))
    for different in ({"sigma": 0.5}, {"seed": 1}, {"upscale": "nearest:factor=2"}, {"noise": "uniform"}):
        (other,) = planned(tmp_path, **different)
        assert other.queries != run.queries
        assert (other.references == run.references) is ("upscale" not in different)


def test_a_manifest_is_checked_like_any_other(tmp_path: Path) -> None:
    (run,) = planned(tmp_path)
    manifest = json.loads(json.dumps(run.manifest(NO_REPLICA, {})))
    check_manifest(manifest, "here")
    assert (manifest["num_classes"], manifest["num_labels"]) == (16384, 32768)
    assert manifest["queries"]["labels"] == "reference"
    assert manifest["data"]["class_names"] == {}  # the API's labels are not the data's classes
    with pytest.raises(BadRecord, match="query_identity"):
        check_manifest({**manifest, "identity": {**manifest["identity"], "query_identity": "none"}}, "here")


@pytest.mark.processes
def test_neither_torch_nor_ray_is_needed(tmp_path: Path) -> None:
    code = (
        "import sys; from raysmooth.common.settings import checked; "
        "from raysmooth.pipeline.runs.procedures import PROCEDURES; "
        "from raysmooth.pipeline.runs.prepare import prepare; "
        "c = PROCEDURES['certify']; v = dict(dataset='digits', classifier='google', sigma=0.25, n=100, max=1); "
        f"prepare(c, checked(c.settings, dict(v, out={str(tmp_path)!r}))); "
        "print([name for name in ('torch', 'ray', 'google.cloud') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert answer.stdout.strip() == "[]", answer.stderr


class Answer:
    def __init__(self, *names: str, refused: str | None = None) -> None:
        self.tags, self.refused = tuple(Tag(name, 1.0) for name in names), refused


def with_answers(run: ApiRun, answers: Mapping[str, Answer]) -> ApiRun:
    def answer(key: DrawKey) -> Answer | None:
        assert (key.role, key.draw) == (Role.REFERENCE, 0)
        return answers.get(key.image)

    return dataclasses.replace(run, reference_answer=answer)


def test_a_label_is_the_answer_to_the_image_itself_or_nothing(tmp_path: Path) -> None:
    images = [np.full((1, 8, 8), value, np.float32) for value in (0.1, 0.5, 0.9, 1.0)]
    answers = [Answer("grey"), Answer(), Answer("bright", refused="a filter")]
    (run,) = planned(tmp_path, classifier="listed")
    run = with_answers(run, dict(zip(map(image_digest, images), answers, strict=False)))
    assert [run.label_of(image, 7) for image in images] == [1, None, None, None]
    assert run.label_of(None, 7) is None  # an image that cannot be read
    assert run.names == {0: "dark", 1: "grey", 2: "bright", 3: "(none)", 4: "(error)"}
    assert run.num_labels == 2 * 5


def test_accepted_labels_keep_the_labels_of_the_data(tmp_path: Path) -> None:
    (run,) = planned(tmp_path, accepted="numbers")
    assert run.label_of(np.zeros((1, 8, 8), np.float32), 7) == 7
    assert run.references is None
    assert run.queries_per_image == 120
    assert isinstance(run.labelling, Labelling)
    assert run.labelling.draw_code(Answer("7")) == 7
    example = Example(np.zeros(run.image_shape, np.float32), 10)
    assert run.problem_with(example) == "label 10 is outside the data's classes 0..9"


def test_draws_are_planned_image_by_image(tmp_path: Path) -> None:
    (run,) = planned(tmp_path, n0=10)
    assert [list(shard) for shard in run.plan.shards(run.index_set.ids)] == [[0], [1], [2]]
    units = list(run.plan.first_units(0, [1]))
    assert [(unit.role, unit.draws, unit.image_ids) for unit in units] == [
        (Role.SELECTION, 10, (1,)),
        (Role.ESTIMATION, 100, (1,)),
    ]


REFUSED = [
    (
        {"classifier": "large"},
        "takes pictures of at least 50 pixels a side, and these are 8 x 8: write --upscale neare",
    ),
    ({"classifier": "large", "upscale": "nearest:factor=4"}, "these are 32 x 32: write --upscale nearest:factor=7"),
    ({"budget": 1.0}, "--budget 1: scripted has no price that is known here: write --price-per-1000 1.50"),
    ({"classifier": "scripted:colour=red"}, "colour"),
    ({"accepted": "nowhere.yaml"}, "nowhere.yaml"),
    ({"label_rule": "among:nowhere.txt"}, "nowhere.txt"),
    ({"denoiser": "dncnn"}, "denoiser 'dncnn' has no weights"),
    ({"denoiser": "dncnn", "denoiser_weights": "nowhere.pth"}, "nowhere.pth"),
]


@pytest.mark.parametrize(
    ("changes", "message"), REFUSED, ids=lambda value: "" if isinstance(value, str) else str(value)
)
def test_what_cannot_work_is_refused_in_one_line(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RaysmoothError) as refused:
        planned(tmp_path, **changes)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not [*tmp_path.iterdir()]


def test_an_upscale_that_is_large_enough_is_not_refused(tmp_path: Path) -> None:
    (run,) = planned(tmp_path, classifier="large", upscale="nearest:factor=7", budget=1.0)
    assert run.price == 0.002
    assert run.spec.upscale == "nearest:factor=7"


def test_a_denoiser_is_known_by_its_fingerprint(tmp_path: Path) -> None:
    from raysmooth.actors.models.denoisers import build_denoiser
    from raysmooth.actors.models.weights import fingerprint, save_weights
    from raysmooth.common.variant import Variant

    network = build_denoiser(Variant.parse("dncnn:depth=3,width=4,channels=1"))
    card = {
        "architecture": "dncnn:channels=1,depth=3,width=4",
        "objective": "stability",
        "sigma": 0.5,
        "noise": "gaussian",
    }
    save_weights(tmp_path / "d.safetensors", network, card)
    (run,) = planned(tmp_path, denoiser="dncnn", denoiser_weights=str(tmp_path / "d.safetensors"))
    assert run.spec.denoiser == "dncnn:channels=1,depth=3,width=4"
    assert run.spec.denoiser_fingerprint == fingerprint(network) == run.base.denoiser_fingerprint
    assert run.objective == "stability"
    assert run.mismatch is not None
    (plain,) = planned(tmp_path)
    assert run.queries != plain.queries
    assert run.references == plain.references  # the image itself passes no denoiser
