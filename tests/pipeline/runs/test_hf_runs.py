"""Runs of classifiers in folders of Hugging Face, and of classifiers with an input size."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from hf_folders import changed, make_folder
from object_store import Server
from small_runs import certified

from raysmooth.actors.models.weights import save_weights
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.settings import user_settings
from raysmooth.pipeline.derived.recertify import recertify
from raysmooth.pipeline.pictures.image_replay import replay
from raysmooth.pipeline.runs.network_facts import refuse_networks
from raysmooth.pipeline.runs.prepare import prepare
from raysmooth.pipeline.runs.procedures import PROCEDURES
from raysmooth.pipeline.runs.row_records import records
from raysmooth.pipeline.runs.settings import CertifySettings
from raysmooth.pipeline.runs.stored_run import StoredRun

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
GREY = {"image_processor_type": "ViTImageProcessor", "size": 32, "image_mean": 0.5, "image_std": 0.5, "resample": 3}
DIGITS: dict[str, Any] = {"dataset": "digits", "sigma": 0.25, "max": 2, "n0": 20, "n": 50, "block_size": 50}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shape = {"num_channels": 1, "num_labels": 10, "id2label": dict(enumerate(NAMES))}
    return make_folder(tmp_path_factory.mktemp("models") / "vit", "vit", processor=GREY, **shape)


def rows_of(out: Path) -> pd.DataFrame:
    rows = pd.concat([pd.read_parquet(file) for file in sorted((out / "certificates").rglob("*.parquet"))])
    return rows.sort_values("image_id", ignore_index=True)


def test_rows_have_names_and_the_input_size_and_are_drawn_again(folder: Path, tmp_path: Path) -> None:
    run_id = certified(tmp_path, classifier=f"hf:{folder}", **DIGITS)
    rows = rows_of(tmp_path)
    assert set(rows["classifier"]) == {"hf"}
    assert set(rows["input_size"]) == {"bicubic:32x32"}
    assert list(rows["label_name"]) == [NAMES[label] for label in rows["label"]]
    run = StoredRun.read(tmp_path, run_id)
    assert run.identity["input_size"] == "bicubic:32x32"
    assert run.identity["transformers"] is not None
    again = replay(run, records(rows)[0], run.open_dataset(), 1)
    assert again.row["prediction"] == rows["prediction"][0]
    recertified = recertify(str(tmp_path), alpha=0.01)
    assert set(recertified["input_size"]) == {"bicubic:32x32"}
    changed(folder, "preprocessor_config.json", resample=2)
    with pytest.raises(RaysmoothError, match="is not the file of the classifier weights that run"):
        StoredRun.read(tmp_path, run_id).load(torch.device("cpu"))
    changed(folder, "preprocessor_config.json", resample=3)


def test_an_input_size_is_another_run_and_the_same_network(tmp_path: Path) -> None:
    from raysmooth.actors.models.networks.digits import digits_cnn

    weights = tmp_path / "digits.safetensors"
    save_weights(weights, digits_cnn(), {"architecture": "digits_cnn"})
    named = {"classifier": "digits_cnn", "classifier_weights": str(weights), **DIGITS}
    first, same = certified(tmp_path / "a", **named), certified(tmp_path / "b", input_size=8, **named)
    assert first != same
    a, b = rows_of(tmp_path / "a"), rows_of(tmp_path / "b")
    assert list(a["count_top"]) == list(b["count_top"])
    assert a["input_size"].isna().all()


def test_a_bad_folder_is_refused_before_torch(folder: Path, tmp_path: Path) -> None:
    given = {"out": str(tmp_path), **DIGITS}
    with pytest.raises(RaysmoothError, match=r"hf:\S*none does not exist: give the folder that save_pretrained wrote"):
        refuse_networks(user_settings(CertifySettings, {**given, "classifier": f"hf:{tmp_path / 'none'}"}))
    named = {**given, "classifier": "digits_cnn", "classifier_weights": str(folder)}
    with pytest.raises(RaysmoothError, match="is a folder of Hugging Face, which names its architecture: write"):
        refuse_networks(user_settings(CertifySettings, named))
    refuse_networks(user_settings(CertifySettings, {**given, "classifier": f"hf:{folder}"}))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"input_size": 0}, "--input-size 0: input should be greater than or equal to 1"),
        ({"interpolation": "cubic"}, "unknown interpolation 'cubic': did you mean 'bicubic'"),
        ({"classifier": "google", "input_size": 224}, "--input-size with --classifier google: an API resizes pictures"),
    ],
)
def test_sizes_that_cannot_be(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(RaysmoothError, match=message):
        user_settings(CertifySettings, {"classifier": "digits_cnn", "out": str(tmp_path), **DIGITS, **settings})


def test_a_folder_for_each_level(tmp_path: Path) -> None:
    shape = {"num_channels": 1, "num_labels": 10, "id2label": dict(enumerate("0123456789"))}
    for level in ("0.25", "0.50"):
        make_folder(tmp_path / f"vit-{level}", "vit", processor=GREY, **shape)
    given = {**DIGITS, "sigma": [0.25, 0.5], "classifier": f"hf:{tmp_path}/vit-{{sigma}}", "out": str(tmp_path)}
    runs = prepare(PROCEDURES["certify"], user_settings(CertifySettings, given))
    assert [Path(str(run.base.classifier_weights)).name for run in runs] == ["vit-0.25", "vit-0.50"]
    assert [run.class_names[3] for run in runs] == ["3", "3"]
    changed(tmp_path / "vit-0.50", id2label=dict(enumerate(NAMES[1:] + NAMES[:1])))
    (_, named) = prepare(PROCEDURES["certify"], user_settings(CertifySettings, given))
    assert named.class_names[3] == "four"


def test_a_folder_in_an_object_store(
    folder: Path, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for file in folder.iterdir():
        server.put(f"models/vit/{file.name}", file.read_bytes())
    server.put("models/vit/pytorch_model.bin", b"not fetched")
    url = f"s3://results/models/vit?endpoint_override={server.address}"
    given = {**DIGITS, "classifier": f"hf:{url}", "out": str(tmp_path)}
    (run,) = prepare(PROCEDURES["certify"], user_settings(CertifySettings, given))
    (local,) = prepare(PROCEDURES["certify"], user_settings(CertifySettings, {**given, "classifier": f"hf:{folder}"}))
    assert run.base.classifier_fingerprint == local.base.classifier_fingerprint
    assert run.base.resizing == "bicubic:32x32"
    assert not list((tmp_path / "cache").rglob("*.bin"))
