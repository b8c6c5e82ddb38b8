import pytest

from raysmooth.common.errors import RaysmoothError
from raysmooth.common.model_files import split_model_file, with_weights_named
from raysmooth.common.settings import checked, user_settings
from raysmooth.common.variant import Variant, is_own_code
from raysmooth.pipeline.pictures.gallery_settings import GallerySettings
from raysmooth.pipeline.runs.settings import CertifySettings
from raysmooth.tune.experiments.weight_files import with_weights
from raysmooth.tune.recipes.settings import TrainRejectorSettings

DATA = {"dataset": "digits", "sigma": 0.25, "out": "results"}


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("hf:vit", ("hf", "vit")),
        ("hf:models/vit-{sigma:.2f}", ("hf", "models/vit-{sigma:.2f}")),
        ("hf:s3://bucket/vit?region=eu", ("hf", "s3://bucket/vit?region=eu")),
        ("hf:a,b", ("hf", "a,b")),
        ("onnx:net.onnx#logits", ("onnx", "net.onnx#logits")),
        ("onnx:run=3/net.onnx", None),
        ("onnx:./run=3/net.onnx", ("onnx", "./run=3/net.onnx")),
        ("onnx:order=bgr", None),
        ("onnx", None),
        ("hf:", None),
        ("lenet", None),
        ("my.hf:make", None),
    ],
)
def test_a_name_with_a_path_is_split(text: str, parts: tuple[str, str] | None) -> None:
    assert split_model_file(text) == parts


def test_a_file_that_looks_like_an_option_is_taken_where_it_exists(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "order=bgr").touch()
    assert split_model_file("onnx:order=bgr") == ("onnx", "order=bgr")


def test_no_file_of_another_tool_is_code_of_the_users_own() -> None:
    assert not any(map(is_own_code, ("hf:vit", "onnx:net", "onnx:order=bgr")))
    assert is_own_code("hfx:vit")
    assert Variant.parse("onnx:order=bgr") == Variant("onnx", (("order", "bgr"),))


def test_certify_takes_name_and_path_apart() -> None:
    settings = checked(CertifySettings, {**DATA, "classifier": "hf:models/vit", "denoiser": "onnx:d.onnx"})
    assert (settings.classifier, settings.classifier_weights) == ("hf", "models/vit")
    assert (settings.denoiser, settings.denoiser_weights) == ("onnx", "d.onnx")
    assert CertifySettings.model_validate(settings.model_dump()) == settings


def test_a_file_may_name_a_model_of_another_tool(tmp_path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("classifier: hf:vit\n")
    settings = user_settings(CertifySettings, DATA, file)
    assert (settings.classifier, settings.classifier_weights, settings.trust_code) == ("hf", "vit", True)


def test_trainings_take_them_too() -> None:
    settings = checked(TrainRejectorSettings, {**DATA, "classifier": "onnx:net.onnx", "out": "r.safetensors"})
    assert (settings.classifier, settings.classifier_weights) == ("onnx", "net.onnx")


def test_a_gallery_takes_several_denoisers() -> None:
    settings = checked(GallerySettings, {**DATA, "denoiser": "onnx:a,1.onnx; onnx:b.onnx", "out": "a.png"})
    assert (settings.denoiser, settings.denoiser_weights) == (["onnx", "onnx"], ["a,1.onnx", "b.onnx"])
    with pytest.raises(RaysmoothError, match="--denoiser: dncnn names no weights, and others do: write all"):
        checked(GallerySettings, {**DATA, "denoiser": "onnx:a.onnx;dncnn", "out": "a.png"})


def test_weights_given_twice_are_refused() -> None:
    with pytest.raises(
        RaysmoothError, match=r"write --classifier hf --classifier-weights vit, or leave --classifier-w"
    ):
        with_weights_named({"classifier": "hf:vit", "classifier_weights": "other"})


def test_a_folder_of_hugging_face_is_no_denoiser() -> None:
    with pytest.raises(RaysmoothError, match=r"--denoiser hf:x: hf is no denoiser: write onnx:FILE, or a name"):
        with_weights_named({"denoiser": "hf:x"})


def test_stages_of_experiments_are_read_to_any_depth() -> None:
    stage = {"settings": {"classifier": "hf:vit"}, "search": {"classifier": ["hf:a", "hf:b"]}, "denoiser": "dncnn"}
    assert with_weights(stage) == {
        "settings": {"classifier": "hf", "classifier_weights": "vit"},
        "search": {"classifier": ["hf:a", "hf:b"]},
        "denoiser": "dncnn",
    }
