"""Others' answers as JSON lines, certified here."""

import json
from pathlib import Path
from typing import Any

import pytest
from command import command
from scipy.stats import beta, norm

from raysmooth.common.errors import RaysmoothError
from raysmooth.common.settings import checked
from raysmooth.pipeline.derived.import_settings import ImportSettings
from raysmooth.pipeline.derived.log_import import import_logs
from raysmooth.pipeline.report.report import read_certificates

GIVEN = {"dataset": "imagenet", "classifier": "some api", "sigma": 0.25, "n0": 5, "n": 50, "alpha": 0.001}


def lines(image: int, dogs: int = 50, empty: int = 0, reference: str = "Dog") -> list[dict[str, Any]]:
    """The image itself, 5 selection draws of a dog, and 50 estimation draws: `dogs` of a dog, `empty` without tags, the
    rest of a cat.
    """
    dog, cat = ([{"name": name, "score": 0.9}, {"name": "Animal", "score": 0.5}] for name in ("Dog", "Cat"))
    draws = [dog] * dogs + [[]] * empty + [cat] * (50 - dogs - empty)
    own = [{"name": reference, "score": 0.8}]
    return [
        {"image": image, "role": "reference", "draw": 0, "tags": own},
        *({"image": image, "role": "selection", "draw": draw, "tags": dog} for draw in range(5)),
        *({"image": image, "role": "estimation", "draw": draw, "tags": tags} for draw, tags in enumerate(draws)),
    ]


def written(folder: Path, *images: list[dict[str, Any]]) -> str:
    file = folder / "answers.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for own in images for line in own))
    return str(file)


def test_certificates_by_hand(tmp_path: Path) -> None:
    file = written(
        tmp_path, lines(7), lines(3, dogs=45, empty=5), lines(4, dogs=50, reference="Wolf"), lines(5, dogs=20)
    )
    settings = checked(ImportSettings, {**GIVEN, "out": str(tmp_path / "out")})
    (imported,) = import_logs([file], settings)
    rows = read_certificates(tmp_path / "out").set_index("image_id").sort_index()
    radius = {top: 0.25 * norm.ppf(beta.ppf(0.001, top, 51 - top)) for top in (45, 50)}
    assert rows["radius"].tolist() == pytest.approx([radius[45], radius[50], 0.0, radius[50]], abs=1e-9)
    assert rows["abstain"].tolist() == [False, False, True, False]
    assert rows["correct"].tolist() == [True, False, False, True]
    assert rows["label_name"].tolist() == ["Dog", "Wolf", "Dog", "Dog"]
    assert rows["count_rejected"].tolist() == [5, 0, 0, 0]
    assert rows["source"].str.startswith("imported from ").all()
    assert (imported.rows, imported.new) == (4, True)
    assert not import_logs([file], settings)[0].new


def test_numbers_and_digests_of_images_are_not_mixed(tmp_path: Path) -> None:
    digest = [{**line, "image": "ab" * 32} for line in lines(0)]
    settings = checked(ImportSettings, {**GIVEN, "out": str(tmp_path / "out")})
    with pytest.raises(RaysmoothError, match="some images by number and some by digest"):
        import_logs([written(tmp_path, lines(1), digest)], settings)


def test_the_command_names_bad_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = [part for name, value in GIVEN.items() for part in (f"--{name}", str(value))]
    file = written(tmp_path, lines(7))
    code, out, err = command(capsys, "import", file, *flags, "--out", str(tmp_path / "out"))
    assert code == 0, err
    assert "certified agreement" in out.lower()
    Path(file).write_text(Path(file).read_text() + '{"image": 7}\n')
    code, _, err = command(capsys, "import", file, *flags, "--out", str(tmp_path / "out"))
    assert code == 2
    assert "line 57" in err


def test_refusals(tmp_path: Path) -> None:
    file = written(tmp_path, lines(7))
    for changes, words in (
        ({"n": None}, "write how they were made"),
        ({"n": 60}, "draws are missing of 1 image, the first is 7"),
    ):
        with pytest.raises(RaysmoothError, match=words):
            import_logs([file], checked(ImportSettings, {**GIVEN, "out": str(tmp_path / "out"), **changes}))
    assert not (tmp_path / "out").exists()
