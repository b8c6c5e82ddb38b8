"""Ensembles: the mean of members' logits or pixels, in memory as one classifier, with the identity of all members."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rejector_weights import rejector_file, rejector_network
from torch import nn

from raysmooth.actors.models.classifier_spec import BaseClassifierSpec
from raysmooth.actors.models.ensemble_cards import EnsembleCard, member_cards
from raysmooth.actors.models.ensembles import ensemble_name, member_name, one_classifier
from raysmooth.actors.models.loading import Loaded, check_image, load_base_classifier
from raysmooth.actors.models.network_reading import load_denoiser
from raysmooth.actors.models.networks.digits import digits_cnn
from raysmooth.actors.models.networks.dncnn import DnCNN
from raysmooth.actors.models.networks.ensemble import CallableEnsemble, Ensemble
from raysmooth.actors.models.weight_paths import file_sha256, members_of, path_at
from raysmooth.actors.models.weights import fingerprint, save_weights
from raysmooth.actors.noise.streams import Gaussian
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.variant import Variant
from raysmooth.pipeline.runs.noise_mismatch import describe, find_mismatches

CPU = torch.device("cpu")


class Fixed(nn.Module):
    """Logits that are given, whatever the image; with weights, so that nothing takes it for a callable."""

    def __init__(self, *rows: list[float]) -> None:
        super().__init__()
        self.rows = nn.Parameter(torch.tensor(rows), requires_grad=False)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.rows[: len(pixels)]


def digits_file(folder: Path, name: str, seed: int, **card: Any) -> str:
    torch.manual_seed(seed)
    save_weights(folder / name, digits_cnn(), card)
    return str(folder / name)


def load(weights: str, **fields: Any) -> Loaded:
    spec = replace(BaseClassifierSpec("digits_cnn", weights), **fields)
    return load_base_classifier(spec, CPU)


@pytest.fixture
def pixels() -> torch.Tensor:
    return torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def test_the_logits_are_the_mean_of_the_members() -> None:
    first, second = Fixed([0.0, 3.0, 1.0]), Fixed([4.0, 0.0, 1.0])
    assert Ensemble([first, second], ["a", "b"])(torch.zeros(1, 1, 2, 2)).tolist() == [[2.0, 1.5, 1.0]]
    assert CallableEnsemble([first, second], ["a", "b"])(torch.zeros(1, 1, 2, 2)).tolist() == [[2.0, 1.5, 1.0]]


def test_where_the_first_agree_the_others_have_no_vote() -> None:
    """By hand, of three members and a consensus of two: draw 0 is settled by the first two, though the mean of all is
    class 0; on draw 1 they disagree, and the mean of all is class 2. On draw 2 one of the first has no finite logits.
    """
    nan = float("nan")
    first = Fixed([0.0, 1.0, 0.0], [3.0, 0.0, 2.0], [0.0, 1.0, 0.0])
    second = Fixed([0.0, 2.0, 1.0], [0.0, 3.0, 2.0], [0.0, nan, 0.0])
    third = Fixed([9.0, 0.0, 0.0], [0.0, 0.0, 2.0], [0.0, 9.0, 0.0])
    ensemble = Ensemble([first, second, third], "abc", consensus=2)
    logits = ensemble(torch.zeros(3, 1, 2, 2))
    assert logits[:2].tolist() == [[0.0, 1.5, 0.5], [1.0, 1.0, 2.0]]
    assert logits[2].isnan().any()
    assert Ensemble([first, second, third], "abc")(torch.zeros(1, 1, 2, 2)).argmax() == 0


def test_members_that_do_not_go_together_are_named() -> None:
    blank = torch.zeros(2, 1, 2, 2)
    with pytest.raises(RaysmoothError, match=r"^b.pth has 2 classes, a.pth has 3: give an ensemble"):
        Ensemble([Fixed([1.0, 2, 3], [1, 2, 3]), Fixed([1.0, 2], [1, 2])], ["a.pth", "b.pth"])(blank)

    def labels(pixels: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(pixels), dtype=torch.int64)

    with pytest.raises(RaysmoothError, match=r"^an ensemble is the mean of logits, and b answers labels"):
        one_classifier([Fixed([1.0, 2], [1, 2]), labels], ["a", "b"])(blank)
    with pytest.raises(RaysmoothError, match=r"^--consensus 2 of an ensemble need torch modules"):
        one_classifier([labels, labels, labels], "abc", consensus=2)


def test_an_ensemble_of_one_is_the_network_itself(tmp_path: Path) -> None:
    file = digits_file(tmp_path, "a,0.safetensors", 1)  # a file with a comma in its name is one file
    loaded = load(file)
    assert type(loaded.model.classifier) is type(digits_cnn())
    assert loaded.spec.classifier == "digits_cnn"
    assert loaded.spec.classifier_fingerprint == fingerprint(loaded.model.classifier)


def test_several_weights_are_one_classifier(tmp_path: Path, pixels: torch.Tensor) -> None:
    files = [digits_file(tmp_path, f"{name}.safetensors", seed) for seed, name in enumerate("abc")]
    loaded = load(",".join(files))
    single = [load(file) for file in files]
    with torch.inference_mode():
        mean = sum(one.model.answer(pixels) for one in single) / 3
        torch.testing.assert_close(loaded.model.answer(pixels), mean)
    assert check_image(loaded, pixels[0]) == 10
    assert loaded.spec.classifier == "digits_cnn:ensemble=3"
    text = "\n".join(str(one.spec.classifier_fingerprint) for one in single)
    assert loaded.spec.classifier_fingerprint == hashlib.sha256(text.encode()).hexdigest()
    assert load(",".join(files[::-1])).spec.classifier_fingerprint != loaded.spec.classifier_fingerprint

    # As a run's manifest names it: the same again, from the same number of files only.
    again = load(",".join(files), classifier=loaded.spec.classifier, preprocess=loaded.spec.preprocess)
    assert again.spec == replace(loaded.spec, classifier=again.spec.classifier)
    with pytest.raises(RaysmoothError, match=r"'digits_cnn:ensemble=3' is an ensemble, and there are weights of 2"):
        load(",".join(files[:2]), classifier=loaded.spec.classifier)


def test_consensus_is_part_of_the_name(tmp_path: Path) -> None:
    files = [digits_file(tmp_path, f"{name}.safetensors", seed) for seed, name in enumerate("abc")]
    loaded = load(",".join(files), consensus=2)
    assert loaded.spec.classifier == "digits_cnn:consensus=2,ensemble=3"
    assert loaded.model.classifier.consensus == 2
    again = load(",".join(files), classifier=loaded.spec.classifier)
    assert again.spec.classifier == loaded.spec.classifier
    assert again.model.classifier.consensus == 2
    for consensus, weights in ((3, ",".join(files)), (2, ",".join(files[:2])), (2, files[0])):
        with pytest.raises(RaysmoothError, match=rf"^--consensus {consensus} of \d classifiers?: (write|it takes)"):
            load(weights, consensus=consensus)


def test_names_of_ensembles_read_back() -> None:
    name = ensemble_name(Variant.parse("dncnn:depth=5"), 4, 3)
    assert str(name) == "dncnn:consensus=3,depth=5,ensemble=4"
    assert member_name(name, 4, "denoiser") == (Variant.parse("dncnn:depth=5"), 3)
    own = Variant.parse("my.module:make:ensemble=7")  # an option of the user's own function
    assert member_name(own, 1, "classifier") == (own, None)


def test_each_member_has_its_own_normalisation(tmp_path: Path, pixels: torch.Tensor) -> None:
    files = [
        digits_file(tmp_path, "a.safetensors", 1, preprocess="0.5/0.25"),
        digits_file(tmp_path, "b.safetensors", 2),
    ]
    loaded, single = load(",".join(files)), [load(file) for file in files]
    assert loaded.spec.preprocess == "0.5/0.25;none"
    with torch.inference_mode():
        mean = sum(one.model.answer(pixels) for one in single) / 2
        torch.testing.assert_close(loaded.model.answer(pixels), mean)
    again = load(",".join(files), preprocess=loaded.spec.preprocess)
    assert again.spec.classifier_fingerprint == loaded.spec.classifier_fingerprint
    with torch.inference_mode():
        assert torch.equal(again.model.answer(pixels), loaded.model.answer(pixels))
    assert load(",".join(files), preprocess="0.5/0.5").spec.preprocess == "0.5/0.5"
    with pytest.raises(RaysmoothError, match="has 3 normalisations, there are weights of 2"):
        load(",".join(files), preprocess="none;none;none")


def test_a_member_that_is_missing_or_does_not_fit_is_named(tmp_path: Path) -> None:
    good = digits_file(tmp_path, "a.safetensors", 1)
    with pytest.raises(RaysmoothError, match=rf"^weights file {tmp_path}/none.safetensors does not exist"):
        load(f"{good},{tmp_path}/none.safetensors")
    save_weights(tmp_path / "d.safetensors", DnCNN(depth=3, width=4, channels=1), {"architecture": "dncnn"})
    with pytest.raises(RaysmoothError, match=rf"^weights {tmp_path}/d.safetensors do not fit .* made for 'dncnn'"):
        load(f"{good},{tmp_path}/d.safetensors")
    with pytest.raises(RaysmoothError, match=r"fingerprint|not those that this run began with"):
        load(good, classifier_fingerprint="0" * 64)


def test_paths_of_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b", "b,c", "n-0.50", "m-0.5"):
        (tmp_path / name).write_text(name)
    assert members_of(None) == ()
    assert members_of("a") == ("a",)
    assert members_of("a, b") == ("a", "b")
    assert members_of("b,c") == ("b,c",)
    assert members_of("b,c#model") == ("b,c#model",)
    assert members_of("a#one,b#two") == ("a#one", "b#two")
    assert members_of("IMAGENET1K_V1,IMAGENET1K_V2") == ("IMAGENET1K_V1", "IMAGENET1K_V2")
    assert members_of("s3://bucket/a,s3://bucket/b") == ("s3://bucket/a", "s3://bucket/b")
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "d,e").write_text("")
    assert members_of("d,e", ["below"]) == ("d,e",)
    with pytest.raises(RaysmoothError, match="nothing stands before or after a comma"):
        members_of("a,,b")
    with pytest.raises(RaysmoothError, match="name a twice"):
        members_of("a,b,a")

    assert path_at("n-{sigma},m-{sigma}", 0.5) == "n-0.50,m-0.5"
    assert path_at("x-{sigma:.2f},x-{sigma:.3f}", 0.5) == "x-0.50,x-0.500"
    (tmp_path / "p,q-0.50").write_text("")
    assert path_at("p,q-{sigma}", 0.5) == "p,q-0.50"

    digests = "\n".join(hashlib.sha256(name.encode()).hexdigest() for name in ("a", "b"))
    assert file_sha256("a,b") == hashlib.sha256(digests.encode()).hexdigest()
    assert file_sha256("a,missing") is None
    assert file_sha256("a,b", most_bytes=0) is None


def test_the_mean_of_denoisers(tmp_path: Path, pixels: torch.Tensor) -> None:
    files = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        files.append(str(tmp_path / f"{seed}.safetensors"))
        card = {"architecture": "dncnn:channels=1,depth=3,width=4", "objective": f"of {seed}", "sigma": 0.25}
        save_weights(files[-1], DnCNN(depth=3, width=4, channels=1), card)
    read = load_denoiser("dncnn", ",".join(files))
    denoiser, name, card = read.network, read.name, read.card
    assert denoiser is not None
    assert name == "dncnn:channels=1,depth=3,ensemble=2,width=4"
    assert card["objective"] == "of 1 + of 2"
    assert card["sigma"] == 0.25
    single = [load_denoiser("dncnn", file).network for file in files]
    with torch.inference_mode():
        mean = sum(one.eval()(pixels) for one in single if one is not None) / 2
        torch.testing.assert_close(denoiser.eval()(pixels), mean)
    assert load_denoiser(name, ",".join(files)).name == name

    save_weights(tmp_path / "3.safetensors", DnCNN(depth=4, width=4, channels=1), {"architecture": "dncnn:depth=4"})
    with pytest.raises(RaysmoothError, match=r"3.safetensors of 'dncnn:depth=4'|do not fit"):
        load_denoiser("dncnn", f"{files[0]},{tmp_path}/3.safetensors")


def test_each_member_is_compared_with_the_noise() -> None:
    cards = [("a", {"noise": "gaussian", "sigma": 0.25}), ("b", {"noise": "gaussian", "sigma": 0.5}), ("c", {})]
    spec = BaseClassifierSpec("lenet", "a,b,c")
    loaded = Loaded(None, spec, EnsembleCard(cards), {})  # type: ignore[arg-type] -- the model is not looked at
    assert describe(find_mismatches(loaded, Gaussian(1.0))) == [
        "classifier weights a were trained for gaussian noise of sigma 0.25, this run draws gaussian noise of sigma 1",
        "classifier weights b were trained for gaussian noise of sigma 0.5, this run draws gaussian noise of sigma 1",
    ]
    assert find_mismatches(loaded, Gaussian(0.25))[0].path == "b"


def test_one_card_of_several() -> None:
    card = EnsembleCard([("a", {"sigma": 0.25, "epochs": 3}), ("b", {"sigma": 0.25, "epochs": 4})])
    assert card == {"sigma": 0.25}
    assert [path for path, _ in member_cards("a,b", card)] == ["a", "b"]
    assert member_cards("a", {"sigma": 1.0}) == [("a", {"sigma": 1.0})]


def test_a_trained_rejector_is_refused(tmp_path: Path) -> None:
    files = [digits_file(tmp_path, f"{name}.safetensors", seed) for seed, name in enumerate("ab")]
    ruled = load(",".join(files), rejector="confidence:threshold=0.6")
    assert ruled.model.num_labels == 2 * ruled.model.num_classes
    network = rejector_network(load(files[0]).model.classifier, (1, 8, 8))
    trained = rejector_file(tmp_path / "r.safetensors", network, sigma=0.25, noise="gaussian")
    with pytest.raises(
        RaysmoothError, match=r"^--rejector network.*: a trained rejector sees the features of one class"
    ):
        load(",".join(files), rejector="network", rejector_weights=trained)
