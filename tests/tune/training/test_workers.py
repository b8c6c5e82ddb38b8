"""Several workers on real Ray train what one would, even if they die; and what they refuse."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from digits_trainings import classifier_settings, metrics, no_training, tensors

import raysmooth.tune.training.workers
from raysmooth.actors.models.weights import read_weights
from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.ray_cluster.cluster import Cluster
from raysmooth.tune.training.train import train_classifier


def test_two_workers_are_one_even_if_one_dies(
    ray_cluster: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """After the first epoch a worker is killed; both resume from there, with the sigmas that images had then."""
    flag, out = tmp_path / "flag", tmp_path / "both.safetensors"
    values = {
        "classifier": f"digits_trainings:DiesOnce:flag={flag},out={out}", "objective": "gaussian", "sigma": 0.2,
        "phases": "nesterov:epochs=4,learning_rate=0.05,step_size=2", "epochs": None, "max": 301, "batch_size": 55,
        "data_dependent": "epochs_from=0,learning_rate=0.1",
    }  # fmt: skip
    alone = train_classifier(classifier_settings(tmp_path / "alone.safetensors", **values), show=False)
    capsys.readouterr()
    flag.touch()
    train_classifier(classifier_settings(out, workers=2, **values))
    assert not flag.exists()  # removed by the worker that died
    printed, err = capsys.readouterr()
    assert printed.splitlines()[-1].startswith("digits_trainings:DiesOnce:")  # Ray reports the death before
    lines = [line for line in err.splitlines() if line.startswith(("starting 2 workers", "epoch "))]
    assert lines[0] == "starting 2 workers, one CPU core each"
    assert [line.partition(":")[0] for line in lines[1:]] == [f"epoch {epoch}" for epoch in (1, 2, 3, 4)]

    for key, tensor in tensors(alone).items():
        torch.testing.assert_close(tensors(out)[key], tensor, rtol=1e-4, atol=1e-6)
    both, one = metrics(out), metrics(alone)
    assert list(both) == list(one)
    assert len(both) == 4
    assert both.to_numpy() == pytest.approx(one.to_numpy(), rel=1e-4)
    first, second = read_weights(out).card, read_weights(alone).card
    assert (first.pop("run")["workers"], second.pop("run")["workers"]) == (2, 1)
    for name in ("metrics", "image_sigmas"):
        assert first.pop(name) == pytest.approx(second.pop(name), rel=1e-4)
    assert both.min_sigma.iloc[-1] < 0.19
    assert both.max_sigma.iloc[-1] > 0.21
    assert first == second
    with no_training():  # the number of workers is not part of the identity
        train_classifier(classifier_settings(out, **values), show=False)


def test_what_a_worker_refuses_reaches_the_user_in_one_line(ray_cluster: object, tmp_path: Path) -> None:
    with pytest.raises(
        RaysmoothError, match=r"^digits_cnn clean: .* at step \d+ \(epoch 1, learning rate 1e\+20\)"
    ) as refusal:
        train_classifier(
            classifier_settings(tmp_path / "w.safetensors", workers=2, learning_rate=1e20, max=100), show=False
        )
    assert "\n" not in str(refusal.value)
    assert not list(tmp_path.iterdir())


@contextmanager
def _machine(cpus: float, gpus: float, local: bool) -> Iterator[Cluster]:
    yield Cluster(cpus, gpus, gpus, local)


@pytest.mark.parametrize(
    ("values", "machine", "message"),
    [
        ({"workers": 3}, (2, 0, True), "--workers 3 do not fit this machine's 2 CPU cores: write --workers 2"),
        ({"workers": 3}, (8, 2, True), "--workers 3 do not fit this machine's 2 GPUs: write --workers 2"),
        ({"workers": 9, "device": "cpu"}, (8, 2, True), "--workers 9 do not fit this machine's 8 CPU cores: write"),
        ({"objective": "gausian"}, (2, 0, True), "did you mean 'gaussian'"),
        ({"classifier": "lenet"}, (2, 0, True), "classifier 'lenet' rejects images of shape"),
    ],
)
def test_refused_before_a_worker_starts(
    values: dict[str, Any],
    machine: tuple[float, float, bool],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def start(*_: Any, **__: Any) -> None:
        raise AssertionError("workers were started")

    monkeypatch.setattr("ray.train.torch.TorchTrainer", start)
    monkeypatch.setattr(raysmooth.tune.training.workers, "connected", lambda address, verbose, note: _machine(*machine))
    common = {"workers": 2, "device": "auto"}
    with pytest.raises(RaysmoothError, match=message) as refusal:
        train_classifier(classifier_settings(tmp_path / "w.safetensors", **(common | values)), show=False)
    assert "\n" not in str(refusal.value)
    assert not list(tmp_path.iterdir())
