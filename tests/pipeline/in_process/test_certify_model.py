"""`certify_model` and `predict_model` have the rows that runs on disk have, whatever form model and images come in."""

import asyncio
import copy
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from base_classifiers import Fragile, Linear
from conftest import REPOSITORY
from small_runs import CPU

import raysmooth
from raysmooth.actors.compute.compute_config import ComputeConfig
from raysmooth.actors.models.networks.dncnn import DnCNN
from raysmooth.actors.models.networks.input_size import resize_layer
from raysmooth.actors.models.weights import save_weights
from raysmooth.actors.replica.replica import identity_on
from raysmooth.actors.replica.unit_drawer import UnitDrawer
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.settings import user_settings
from raysmooth.pipeline.data.datasets import open_dataset
from raysmooth.pipeline.drawing.draw_all import draw_all
from raysmooth.pipeline.drawing.ledgers import open_ledgers
from raysmooth.pipeline.in_process.lone_drawer import LoneDrawer
from raysmooth.pipeline.progress.progress_bars import Progress
from raysmooth.pipeline.runs.compute_choice import ChosenRun
from raysmooth.pipeline.runs.prepare import prepare
from raysmooth.pipeline.runs.procedures import PROCEDURES
from raysmooth.pipeline.store.parts import read_rows
from raysmooth.rows import in_reading_order

DIGITS = [open_dataset("digits", None).read(image_id) for image_id in range(12)]
IMAGES = np.stack([digit.image for digit in DIGITS])
LABELS = [digit.label for digit in DIGITS]
FEW: dict[str, Any] = {"sigma": 0.25, "n": 300, "n0": 40, "block_size": 200, "batch_size": 100}
PREDICTED = {name: value for name, value in FEW.items() if name != "n0"}
CALLED = (
    *("dataset", "split", "index_set", "classifier", "classifier_fingerprint", "denoiser", "label_name"),
    *("prediction_name", "run_id", "seconds"),
)
"""Columns that differ: what data, classes and networks are called, and the time taken."""


@pytest.fixture(scope="module")
def denoiser_weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("denoiser") / "denoiser.safetensors"
    save_weights(path, DnCNN(depth=3, width=4, channels=1), {"architecture": "dncnn:channels=1,depth=3,width=4"})
    return str(path)


def model_rows(model: Any = None, images: Any = IMAGES, labels: Any = LABELS, **settings: Any) -> pd.DataFrame:
    given = Linear() if model is None else model
    return raysmooth.certify_model(given, images, labels, **{**FEW, "progress": False, **settings})


def rows_on_disk(out: Path, procedure_name: str, **settings: Any) -> pd.DataFrame:
    """The rows of a run of the same network by its name, drawn by one drawer into files."""
    procedure = PROCEDURES[procedure_name]
    values = {"dataset": "digits", "classifier": "base_classifiers:Linear", "max": len(IMAGES), **settings}
    values = {**(FEW if procedure_name == "certify" else PREDICTED), **values}
    runs = prepare(procedure, user_settings(procedure.settings, {**values, "out": str(out)}))
    compute, here, progress = ComputeConfig("float32", False, 100), identity_on(CPU), Progress(False)
    chosen = [ChosenRun(replace(run, compute=compute), None) for run in runs]
    with ExitStack() as stores:
        ids, ledgers = open_ledgers(chosen, here, stores, lambda _: None)
        drawer = UnitDrawer(CPU)
        drawer.prepare([ledger.sampling for ledger in ledgers], [ledger.run.image_shape for ledger in ledgers])
        draw_all(LoneDrawer(drawer), ledgers, progress, 0.0)
    return in_reading_order(pd.concat([read_rows(str(out), procedure.folder, one) for one in ids]))


def same(ours: pd.DataFrame, theirs: pd.DataFrame) -> None:
    assert list(ours) == list(theirs)
    pd.testing.assert_frame_equal(ours.drop(columns=[*CALLED]), theirs.drop(columns=[*CALLED]))


CERTIFIED: dict[str, dict[str, Any]] = {
    "fixed": {},
    "several levels": {"sigma": [0.5, 0.25], "seed": 7},
    "adaptive": {"sampling": "adaptive", "n": 1000, "tolerance": "5%"},
    "decide": {"sampling": "decide", "radius": 0.1},
    "uniform l1": {"noise": "uniform"},
    "linf": {"norm": "linf"},
    "rejector": {"rejector": "confidence:threshold=0.6"},
    "rejection bound": {"rejector": "margin:threshold=0.1", "noise_bound": "rejection", "alpha_share": 0.6},
    "decide, rejector": {"sampling": "decide", "radius": 0.1, "rejector": "entropy:threshold=0.5"},
    "top 2": {"top_k": 2},
    "normalised": {"preprocess": "0.5/0.25"},
}


@pytest.mark.parametrize("case", CERTIFIED)
def test_rows_are_those_of_the_run_by_name(tmp_path: Path, case: str) -> None:
    same(model_rows(**CERTIFIED[case]), rows_on_disk(tmp_path, "certify", **CERTIFIED[case]))


@pytest.mark.parametrize("rejector", ["none", "confidence:threshold=0.6"])
def test_so_are_those_behind_a_denoiser(tmp_path: Path, denoiser_weights: str, rejector: str) -> None:
    named = {"denoiser": "dncnn:channels=1,depth=3,width=4", "denoiser_weights": denoiser_weights}
    expected = rows_on_disk(tmp_path, "certify", rejector=rejector, **named)
    same(model_rows(rejector=rejector, **named), expected)
    torch.manual_seed(1)
    denoiser = DnCNN(depth=3, width=4, channels=1)
    same(model_rows(rejector=rejector, denoiser=denoiser), expected)
    assert denoiser.training
    called = model_rows(rejector=rejector, denoiser=denoiser.eval().forward)
    assert called["denoiser_fingerprint"].isna().all()
    same(called.assign(denoiser_fingerprint=expected["denoiser_fingerprint"]), expected)


def test_predictions_are_those_of_the_run_by_name(tmp_path: Path) -> None:
    changes: list[dict[str, Any]] = [{"alpha": 0.01}, {"rejector": "confidence:threshold=0.6"}]
    for settings in changes:
        ours = raysmooth.predict_model(Linear(), IMAGES, LABELS, progress=False, **PREDICTED, **settings)
        same(ours, rows_on_disk(tmp_path, "predict", **settings))


@pytest.mark.usefixtures("one_pool")
def test_certify_on_ray_has_the_same_rows(tmp_path: Path) -> None:
    settings = {**FEW, "rejector": "confidence:threshold=0.5", "precision": "float32"}
    certified = raysmooth.certify(
        dataset="digits", classifier="base_classifiers:Linear", max=len(IMAGES), compile="off", replicas=1,
        out=tmp_path, progress=False, **settings,
    )  # fmt: skip
    same(model_rows(threads=1, **settings), certified)


FORMS: dict[str, Any] = {
    "grey": IMAGES[:, 0],
    "float64": IMAGES.astype(np.float64),
    "tensor": torch.tensor(IMAGES, requires_grad=True),
    "strided": np.asfortranarray(IMAGES),
    "read-only": np.broadcast_to(IMAGES, IMAGES.shape),
}


@pytest.mark.parametrize("form", FORMS)
def test_images_in_any_form_have_the_same_rows(form: str) -> None:
    same(model_rows(images=FORMS[form]), model_rows())


@pytest.mark.parametrize("make", [np.asarray, torch.from_numpy])
def test_bytes_are_divided_by_255(make: Callable[[Any], Any]) -> None:
    levels = np.round(IMAGES * 255).astype(np.uint8)
    same(model_rows(images=make(levels)), model_rows(images=levels.astype(np.float32) / np.float32(255)))


def test_labels_may_be_missing_and_classes_have_names() -> None:
    rows = model_rows(labels=None)
    assert rows["label"].isna().all()
    assert rows["correct"].isna().all()
    for labels in (np.array(LABELS), torch.tensor(LABELS)[:, None], tuple(LABELS), pd.Series(LABELS)):
        assert model_rows(labels=labels)["label"].tolist() == LABELS
    some = model_rows(labels=[None, *LABELS[1:]], class_names=[f"digit {k}" for k in range(10)])
    assert some["label"].isna().tolist() == [True] + [False] * 11
    assert some["label_name"].tolist()[1:] == [f"digit {label}" for label in LABELS[1:]]
    certain = some[~some["abstain"]]
    assert certain["prediction_name"].tolist() == [f"digit {k}" for k in certain["prediction"]]
    with pytest.warns(UserWarning, match="label 10 is outside the classifier's classes"):
        assert model_rows(labels=[10, *LABELS[1:]])["status"].tolist() == ["error"] + ["ok"] * 11


NETWORK = Linear()
ANSWERS: dict[str, Callable[[torch.Tensor], Any]] = {
    "logits": NETWORK,
    "attribute": lambda batch: SimpleNamespace(logits=NETWORK(batch)),
    "dict": lambda batch: {"logits": NETWORK(batch), "features": batch},
    "tuple": lambda batch: (NETWORK(batch),),
    "array": lambda batch: NETWORK(batch).detach().numpy(),
}


@pytest.mark.parametrize("form", ANSWERS)
def test_functions_may_answer_in_any_form(form: str) -> None:
    ours = model_rows(ANSWERS[form])
    same(ours, model_rows())
    (name,) = ours["classifier"].unique()
    assert name == ("base_classifiers:Linear" if form == "logits" else "test_certify_model:lambda")


def test_labels_are_answers_too() -> None:
    def labelled(batch: torch.Tensor) -> torch.Tensor:
        return NETWORK(batch).argmax(1)

    same(model_rows(labelled, num_classes=10), model_rows())
    with pytest.raises(raysmooth.RaysmoothError, match="returns labels but not how many there are: write num_classes"):
        model_rows(labelled)
    with pytest.raises(raysmooth.RaysmoothError, match="num_classes 9: the model answers 10 logits: leave it out"):
        model_rows(num_classes=9)


class Normed(torch.nn.Sequential):
    """In training mode it would change with each batch."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__(
            torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Dropout(0.9), torch.nn.Flatten(),
            torch.nn.Linear(144, 10),
        )  # fmt: skip


def test_the_module_stays_as_it_is() -> None:
    module = Normed().train()
    module[3].eval()
    module(torch.tensor(IMAGES)).sum().backward()
    handle = module.register_forward_hook(lambda *_: None)
    modes = [part.training for part in module.modules()]
    state, grads = copy.deepcopy(module.state_dict()), [part.grad.clone() for part in module.parameters()]  # type: ignore[union-attr]
    strides = [part.stride() for part in module.parameters()]
    rows = model_rows(module)
    assert [part.training for part in module.modules()] == modes
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())
    assert all(torch.equal(part.grad, grad) for part, grad in zip(module.parameters(), grads, strict=True))  # type: ignore[arg-type]
    assert [part.stride() for part in module.parameters()] == strides
    assert all(part.requires_grad for part in module.parameters())
    assert len(module._forward_hooks) == 1
    handle.remove()
    same(rows, model_rows(module.eval()))
    same(rows, model_rows(module))


def test_torch_stays_as_it_was() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3, dtype=torch.float64)
    before, tf32 = torch.get_num_threads(), torch.backends.cudnn.allow_tf32
    reference = model_rows(denoiser=DnCNN(depth=3, width=4, channels=1), threads=1)
    torch.manual_seed(5)
    torch.set_num_threads(2)
    torch.set_default_dtype(torch.float64)
    torch.set_float32_matmul_precision("high")
    try:
        assert len(reference) == len(model_rows(NETWORK, threads=1))
        assert torch.get_num_threads() == 2
        assert torch.get_default_dtype() == torch.float64
        assert torch.get_float32_matmul_precision() == "high"
        assert torch.backends.cudnn.allow_tf32 is tf32
        assert torch.is_grad_enabled()
        assert torch.equal(torch.rand(3), expected)
    finally:
        torch.set_num_threads(before)
        torch.set_default_dtype(torch.float32)
        torch.set_float32_matmul_precision("highest")


def test_images_that_fail_are_rows_and_the_others_go_on() -> None:
    bright, dark = (np.full((1, 1, 8, 8), level, np.float32) for level in (0.9, 0.05))
    images = np.concatenate([IMAGES[:2], bright, dark])
    quiet = {"sigma": 0.01, "labels": None, "images": images}
    with pytest.warns(UserWarning, match="2 of 4 images failed"):
        rows = model_rows(Fragile(), **quiet)
    assert rows["status"].tolist() == ["ok", "ok", "error", "error"]
    assert rows["error"][2].startswith("no valid answer (logits NaN or infinite")
    assert rows["error"][3] == "ValueError: too dark"
    alone = model_rows(**{**quiet, "images": images[:2]})
    assert rows["radius"].tolist()[:2] == alone["radius"].tolist()
    with pytest.raises(raysmooth.RaysmoothError, match=r"stopped: 1 images failed \(max_errors 0\)"):
        model_rows(Fragile(), max_errors=0, **quiet)


def test_interrupted_it_leaves_nothing_behind() -> None:
    calls = 0

    def interrupted(batch: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls > 20:
            raise KeyboardInterrupt
        return NETWORK(batch)

    torch.set_default_dtype(torch.float64)
    try:
        with pytest.raises(KeyboardInterrupt, match="interrupted"):
            model_rows(interrupted)  # its network is of float32
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    same(model_rows(), model_rows())


def test_calls_in_threads_and_in_an_event_loop_have_the_same_rows() -> None:
    found: list[pd.DataFrame] = []

    async def cell() -> pd.DataFrame:
        return model_rows()

    threads = [Thread(target=lambda: found.append(model_rows())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found.append(asyncio.run(cell()))
    assert len(found) == 3
    for rows in found:
        same(rows, model_rows())
    assert len({rows["run_id"][0] for rows in found}) == 3


def test_memory_is_that_of_a_batch() -> None:
    """No more noisy images exist at once than a batch has."""
    sizes: list[int] = []

    def sized(batch: torch.Tensor) -> torch.Tensor:
        sizes.append(len(batch))
        return NETWORK(batch)

    model_rows(sized, n=2000, batch_size=50, block_size=1000)
    assert max(sizes) == 50
    assert sum(sizes) >= len(IMAGES) * 2040


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"sigma": None}, "sigma is missing: Noise level"),
        ({"sigma": 64}, r"sigma 64: sigma is at most 10: .* write sigma=64/255"),
        ({"n": 3}, "n=3 draws at alpha=0.001 can only abstain: write n=10 or more"),
        ({"sampling": "decide"}, "sampling decide needs radius: write radius=0.5, say"),
        ({"norm": "l1"}, "norm l1: gaussian noise gives radii in l2 or linf"),
        ({"rejector": "doubt"}, "unknown rejector 'doubt'"),
        ({"denoiser": "dncnn"}, "denoiser 'dncnn' has no weights"),
        ({"denoiser": 3}, "denoiser is an object of type int: give a torch module"),
        ({"denoiser": lambda batch: batch[:1]}, "the denoiser returns .* it must return the pixels of the batch"),
        ({"threads": 0}, "threads 0: input should be greater than or equal to 1"),
        ({"num_classes": 1}, "num_classes 1: input should be greater than or equal to 2"),
        ({"device": "tpu"}, "device tpu: write cpu, cuda or cuda:1, say"),
        ({"device": "meta"}, 'device meta: noise is drawn on CPUs and NVIDIA GPUs: write device="cpu"'),
        ({"precision": "float8"}, "unknown precision 'float8'"),
        ({"precision": "tf32"}, 'precision tf32 needs an NVIDIA GPU.* write precision="float32"'),
        ({"preprocess": "imagenet"}, "preprocess has constants for 3 channels, images have 1"),
        ({"sigmas": "run"}, r"unknown setting 'sigmas': did you mean 'sigma'\?"),
        ({"class_names": "cat"}, "class_names are an object of type str: give a list of names"),
        ({"model": Linear}, r"model is the class base_classifiers.Linear: give an object of it, Linear\(...\)"),
        ({"model": {}}, "model is an object of type dict: give a torch module with its weights"),
        ({"model": torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(10))}, "model has lazy layers"),
        ({"model": Linear(classes=1)}, "has one class"),
        ({"images": IMAGES.transpose(0, 2, 3, 1).repeat(3, 3)}, r"channels last: give images.transpose\(0, 3, 1, 2\)"),
        ({"images": torch.rand(2, 8, 8, 3)}, r"channels last: give images.permute\(0, 3, 1, 2\)"),
        ({"images": list(IMAGES)}, r"images are a list of 12: give one array, numpy.stack\(images\)"),
        ({"images": IMAGES[0, 0]}, r"images of shape \(8, 8\): give \(N, C, H, W\)"),
        ({"images": IMAGES[:0]}, "there is nothing to certify"),
        ({"images": (IMAGES * 255).astype(int)}, "images of type int64: give uint8"),
        ({"images": IMAGES * 255}, "image 0 has values from 0 to 255: .* divide them by 255, or give uint8"),
        ({"images": 2 * IMAGES - 1}, "from -1 to 1: .* give them without their normalisation, .* as preprocess"),
        ({"images": np.where(IMAGES > 0.9, np.nan, IMAGES)}, "image 0 holds numbers that are not finite"),
        ({"images": np.zeros((12, 3, 8, 8), np.uint8)}, r"takes no images of shape \(3, 8, 8\), choose images or"),
        ({"labels": LABELS[:3]}, "there are 12 images and 3 labels"),
        ({"labels": [0.5] * 12}, "labels of type float64 and shape"),
        ({"labels": [-1] * 12}, "label -1 of image 0: whole numbers from 0 on"),
        ({"labels": np.zeros((12, 10), int)}, r"labels of shape \(12, 10\): .* labels.argmax\(1\)"),
        ({"labels": 3}, "labels are an object of type int"),
    ],
)
def test_refusals_are_one_line_and_name_keywords(changes: dict[str, Any], refusal: str) -> None:
    with pytest.raises(raysmooth.RaysmoothError, match=refusal) as refused:
        model_rows(**changes)
    assert not re.search("--[a-z]", str(refused.value))


def test_a_module_that_cannot_be_copied_is_refused_with_the_way_out() -> None:
    module = Linear()
    module.scaled = module.weight * 2
    with pytest.raises(raysmooth.RaysmoothError, match=r"cannot be copied .* lambda batch: model\(batch\)"):
        model_rows(module)
    same(model_rows(lambda batch: module(batch)), model_rows())


def test_a_notebook_shows_the_bar(capsys: pytest.CaptureFixture[str]) -> None:
    model_rows(progress=True)
    said = capsys.readouterr().err
    assert "12 of 12 images" in said
    assert "computing in this process on the CPU" in said
    assert "in float32, batches of 100" in said
    assert model_rows(progress=False) is not None
    assert capsys.readouterr().err == ""


def test_the_example_of_the_readme_runs() -> None:
    (example,) = re.findall(
        r"```python\n((?:(?!```).)*certify_model.*?)```", (REPOSITORY / "README.md").read_text(), re.S
    )
    names: dict[str, Any] = {}
    exec(example, names)
    assert len(names["rows"]) == 20


PROGRAM = """
import asyncio, json, os, sys
import raysmooth

async def cell():
    import torch
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 3))
    return raysmooth.certify_model(net, torch.rand(2, 3, 2, 2), sigma=0.25, n=100, progress=False)

rows = asyncio.run(cell())
print(json.dumps([len(rows), "ray" in sys.modules, rows["classifier"][0], os.listdir(".")]))
"""


@pytest.mark.processes
def test_ray_is_not_imported_and_nothing_is_written(tmp_path: Path) -> None:
    folders = {"HOME": str(tmp_path), "TMPDIR": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    environment = {**os.environ, **folders, "PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == [2, False, "torch.nn.modules.container:Sequential", []]
    assert list(tmp_path.iterdir()) == []


def test_images_are_resized_behind_the_noise() -> None:
    """As by a model that does so itself."""
    torch.manual_seed(0)
    small = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 4, stride=4), torch.nn.Flatten(), torch.nn.Linear(32, 10))
    resize = resize_layer("bilinear:16x16")
    assert resize is not None
    rows = model_rows(small, input_size=16, interpolation="bilinear")
    own = model_rows(torch.nn.Sequential(resize, small))
    assert rows.input_size.eq("bilinear:16x16").all()
    assert own.input_size.ne("bilinear:16x16").all()
    counted = ["prediction", "p_lower", "count_top", "radius"]
    pd.testing.assert_frame_equal(rows[counted], own[counted])
    assert len(set(rows.count_top)) > 1
    with pytest.raises(RaysmoothError, match="interpolation lanczos without a resizing"):
        model_rows(small, interpolation="lanczos")
