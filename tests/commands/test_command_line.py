"""The command line as users see it: refusals in one line before Ray starts, settings from YAML, exit codes."""

import pickle
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from command import command, flags, refused
from conftest import REPOSITORY

import raysmooth
from raysmooth.actors.models.classifier_spec import BaseClassifierSpec
from raysmooth.actors.models.classifiers import build_classifier
from raysmooth.actors.models.loading import load_base_classifier
from raysmooth.actors.models.weights import save_weights
from raysmooth.common.variant import Variant
from raysmooth.pipeline.runs.settings import CertifySettings, PredictSettings


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Weights files: of an untrained digits_cnn, of another network, and two that cannot be loaded."""
    folder = tmp_path_factory.mktemp("weights")
    files = {name: folder / name for name in ("digits.safetensors", "lenet.safetensors", "code.pt", "cut.safetensors")}
    for name in ("digits_cnn", "lenet"):
        module = build_classifier(Variant.parse(name))
        save_weights(files[f"{name.removesuffix('_cnn')}.safetensors"], module, {"architecture": name})
    files["code.pt"].write_bytes(pickle.dumps(Path()))
    files["cut.safetensors"].write_bytes(files["digits.safetensors"].read_bytes()[:1000])
    return {name: str(path) for name, path in files.items()}


GOOD = {"dataset": "digits", "classifier": "digits_cnn", "classifier-weights": "digits.safetensors", "sigma": "0.25"}


@pytest.mark.usefixtures("no_ray")
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"sigma": "0"}, "sigma must be a positive number, not 0: write --sigma 0.25"),
        ({"sigma": "0.25,-1"}, "sigma must be a positive number, not -1"),
        ({"sigma": "a"}, "--sigma a: "),
        ({"sigma": "0.25,0.25"}, "names a level twice"),
        ({"sigma": None}, "--sigma is missing: Noise level"),
        ({"n": "0"}, "--n 0: input should be greater than or equal to 1"),
        ({"n0": "0"}, "--n0 0: input should be greater than or equal to 1"),
        ({"alpha": "0"}, "--alpha 0: input should be greater than 0"),
        ({"alpha": "1"}, "--alpha 1: input should be less than 1"),
        ({"n": "9"}, "n=9 draws at alpha=0.001 can only abstain: write --n 10 or more"),
        ({"dataset": "digit"}, "unknown data set 'digit': did you mean 'digits'?"),
        ({"dataset": "mnist"}, "mnist needs --data-root"),
        ({"dataset": "mnist", "data-root": "nowhere"}, "--data-root nowhere does not exist"),
        ({"split": "tset"}, "digits has no split 'tset': did you mean 'test'?"),
        ({"classifier": "digit_cnn"}, "unknown classifier 'digit_cnn': did you mean 'digits_cnn'?"),
        ({"classifier": "no_such_module:make"}, "importing 'no_such_module' failed"),
        ({"classifier-weights": None}, "has no weights: give --classifier-weights"),
        ({"classifier-weights": "nowhere.pt"}, "weights file nowhere.pt does not exist"),
        ({"classifier-weights": "lenet.safetensors"}, "do not fit"),
        ({"classifier-weights": "code.pt"}, "it would run code"),
        ({"classifier-weights": "cut.safetensors"}, "cut.safetensors is corrupt or not a safetensors file"),
        ({"classifier": "lenet", "classifier-weights": "lenet.safetensors"}, "rejects images of shape (1, 8, 8)"),
        ({"preprocess": "cifar"}, "unknown preprocess 'cifar': did you mean 'cifar10'?"),
        ({"preprocess": "imagenet"}, "preprocess has constants for 3 channels, images have 1"),
        ({"denoiser": "dncn"}, "unknown denoiser 'dncn': did you mean 'dncnn'?"),
        ({"denoiser": "dncnn"}, "denoiser 'dncnn' has no weights: give --denoiser-weights"),
        ({"denoiser-weights": "digits.safetensors"}, "without a denoiser: write --denoiser dncnn too"),
        ({"denoiser": "dncnn", "denoiser-weights": "lenet.safetensors"}, "do not fit DnCNN"),
        ({"out": "s4://bucket/results"}, "s4://bucket/results: write a folder, or a URL such as s3://bucket/folder"),
        ({"out": "/proc/nowhere"}, "--out /proc/nowhere: No such file or directory: name a writable folder"),
        ({"gpus-per-replica": "1.5"}, "--gpus-per-replica 1.5: write a whole number, or a fraction below 1"),
        ({"classifier": "base_classifiers:OneLogit", "classifier-weights": None}, "has one class: smoothing needs two"),
        (
            {"classifier": "base_classifiers:ByTheBatch", "classifier-weights": None},
            "has a BatchNorm without running statistics",
        ),
        ({"classifier": "base_classifiers:OneAnswer", "classifier-weights": None}, "returns 1 outputs for 2 images"),
        ({"config": "nowhere.yaml"}, "nowhere.yaml: there is no such file"),
        ({"resize": "8", "crop": "9"}, "--crop 9 exceeds --resize 8"),
        (
            {"classifier": "base_classifiers:NoMore", "classifier-weights": None},
            "give the object an attribute num_classes",
        ),
    ],
)
def test_refused_in_one_line_before_ray_starts(
    capsys: pytest.CaptureFixture[str], weights: dict[str, str], changes: dict[str, str | None], expected: str
) -> None:
    settings = {flag: weights.get(str(value), value) for flag, value in {**GOOD, **changes}.items()}
    assert expected in refused(capsys, "certify", *flags(settings))


@pytest.mark.usefixtures("no_ray")
def test_a_corrupt_file_in_out_is_refused_before_ray_starts(
    capsys: pytest.CaptureFixture[str], weights: dict[str, str], tmp_path: Path
) -> None:
    corrupt = tmp_path / "certificates/run_id=abc/part-0.parquet"
    corrupt.parent.mkdir(parents=True)
    corrupt.write_bytes(b"PAR1 half")
    settings = {**GOOD, "classifier-weights": weights["digits.safetensors"], "out": str(tmp_path)}
    assert f"{corrupt} is corrupt or not a Parquet file" in refused(capsys, "certify", *flags(settings))
    assert corrupt.read_bytes() == b"PAR1 half"


@pytest.mark.usefixtures("no_ray")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sigmma: 0.25", "unknown setting 'sigmma': did you mean 'sigma'?"),
        ("batchsize: 100", "unknown setting 'batchsize': did you mean 'batch_size'?"),
        ("n: many", "run.yaml: n many: input should be a valid integer"),
        ("- sigma", "expected 'setting: value' lines, found a list"),
        ("sigma: [0.25", "is not YAML"),
    ],
)
def test_a_bad_config_is_refused_with_the_nearest_right_key(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, expected: str
) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(text)
    line = refused(capsys, "certify", "--config", str(config), "--dataset", "digits", "--classifier", "lenet")
    assert expected in line
    assert str(config) in line


def test_every_setting_is_a_flag_and_a_key(capsys: pytest.CaptureFixture[str]) -> None:
    for name, model in (("certify", CertifySettings), ("predict", PredictSettings)):
        code, out, _ = command(capsys, name, "--help-all")
        assert code == 0
        for field in model.model_fields:
            assert f"--{field.replace('_', '-')}" in out, field


def test_a_config_file_and_flags_over_it(
    ray_cluster: object, capsys: pytest.CaptureFixture[str], weights: dict[str, str], tmp_path: Path
) -> None:
    settings = {flag.replace("-", "_"): value for flag, value in GOOD.items()}
    settings |= {"classifier_weights": weights["digits.safetensors"], "sigma": [0.25, 0.5], "max": 9, "n": 50}
    settings |= {"replicas": 1, "out": str(tmp_path / "out")}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(settings))
    code, out, err = command(capsys, "certify", "--config", str(tmp_path / "run.yaml"), "--max", "4")
    assert code == 0, err
    rows = pd.read_parquet(tmp_path / "out/certificates")
    assert len(rows) == 8
    assert set(rows.sigma) == {0.25, 0.5}
    assert "n0=100, n=50, alpha=0.001" in " ".join(out.split())
    assert "digits" in out
    frame = raysmooth.certify(tmp_path / "run.yaml", max=4, progress=False)
    assert sorted(frame.radius) == sorted(rows.radius)

    code, out, err = command(capsys, "report", str(tmp_path / "out"), "--radii", "0,0.1", "--format", "csv")
    assert code == 0, err
    assert out.count("\n") == 3
    files = ["curves-figure.tex", "curves.pdf", "curves.png", "report.html", "table.csv", "table.md", "table.tex"]
    assert sorted(path.name for path in (tmp_path / "out/report").iterdir()) == files

    refused(capsys, "report", str(tmp_path / "nothing"))

    code, out, err = command(capsys, "predict", "--config", str(tmp_path / "run.yaml"), "--max", "4", "--sigma", "0.25")
    assert code == 0, err
    assert "sigma 0.25: 4 images" in out


def test_all_images_failing_is_exit_code_1(
    ray_cluster: object, capsys: pytest.CaptureFixture[str], tmp_path: Path, picture_file: Any
) -> None:
    path = picture_file([(1.0, 1), (0.95, 2)])
    settings = {"dataset": "parquet", "data-root": path, "classifier": "base_classifiers:Fragile", "sigma": "0.02"}
    settings |= {"n": "50", "replicas": "1", "out": str(tmp_path / "out")}
    code, _, err = command(capsys, "certify", *flags(settings))
    assert code == 1
    assert "raysmooth: FAILED: 2 of 2 images failed: no valid answer" in err
    assert "; the first: image 0 (0.png)" in err


def test_addresses_that_lead_nowhere(
    capsys: pytest.CaptureFixture[str], weights: dict[str, str], tmp_path: Path
) -> None:
    given = flags({**GOOD, "classifier-weights": weights["digits.safetensors"], "out": str(tmp_path)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ray.is_initialized", lambda: False)
        patch.setenv("RAY_TMPDIR", str(tmp_path))
        for address, expected in (
            ("127.0.0.1:9", "no Ray cluster answers at 127.0.0.1:9"),
            ("auto", "this machine is not in a Ray cluster"),
            ("bogus", "write HOST:PORT"),
            ("ray://head:10001", "write HOST:PORT"),
        ):
            code, _, err = command(capsys, "certify", *given, "--address", address)
            assert code == 2
            assert expected in err.splitlines()[-1]


def test_the_demo_refuses_a_file_as_its_folder(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("a file")
    line = refused(capsys, "demo", "--out", str(tmp_path / "notes.txt"))
    assert line == f"--out {tmp_path}/notes.txt: a file is there: write a folder for the results"


def test_the_demo_refuses_before_it_trains(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "digits.yaml"
    file.write_text((REPOSITORY / "experiments" / "digits.yaml").read_text().replace("n: 10000", "n: 5"))
    line = refused(capsys, "run", str(file), "--out", str(tmp_path / "out"))
    assert "stage certify-nothing: " in line
    assert "write n: 10 or more" in line
    assert list(tmp_path.iterdir()) == [file]


def test_the_cards_preprocess_is_used_without_being_repeated(weights: dict[str, str], tmp_path: Path) -> None:
    module = build_classifier(Variant.parse("digits_cnn"))
    path = str(tmp_path / "carded.safetensors")
    save_weights(path, module, {"architecture": "digits_cnn", "preprocess": "0.3/0.3"})
    cpu = torch.device("cpu")
    assert load_base_classifier(BaseClassifierSpec("digits_cnn", path), cpu).spec.preprocess == "0.3/0.3"
    assert load_base_classifier(BaseClassifierSpec("digits_cnn", path, "none"), cpu).spec.preprocess == "none"


def test_unknown_report_format_and_radii(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "did you mean 'markdown'?" in refused(capsys, "report", str(tmp_path), "--format", "markdwn")
    assert "--radii 0;1: write numbers" in refused(capsys, "report", str(tmp_path), "--radii", "0;1")


@pytest.mark.parametrize(
    ("command", "line"),
    [("sweep", "nosuch.yaml: there is no such file"), ("run", "there is no experiment nosuch.yaml: ")],
)
def test_a_file_that_is_not_there_is_named_as_written(
    capsys: pytest.CaptureFixture[str], command: str, line: str
) -> None:
    assert refused(capsys, command, "nosuch.yaml").startswith(line)


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "~nosuchuser/x.yaml", "a\nb\x1b[31m"])
def test_an_experiment_that_no_file_can_have_is_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(capsys, "run", name)
    assert "path" in line or "home folder" in line
    assert line.isprintable()


def test_more_threads_than_a_machine_has_are_refused_before_torch_starts_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    flags = "--dataset digits --classifier lenet --out w.safetensors --threads 2147483647"
    line = refused(capsys, "train", "classifier", *flags.split())
    assert line == "--threads 2147483647: input should be less than or equal to 1024"
