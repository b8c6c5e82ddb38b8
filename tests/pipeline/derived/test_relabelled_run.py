"""Another label of the same answers: from the query log alone, with nothing asked."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from command import command
from logged_runs import add_scripted, asked, planned
from scipy.stats import beta, norm

from raysmooth.actors.apis.answers import Tag
from raysmooth.actors.noise.role import Role
from raysmooth.actors.queries.draw_key import DrawKey, image_digest
from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.derived.recertify import recertify
from raysmooth.pipeline.report.report import read_certificates
from raysmooth.pipeline.store.manifest import RunFolder, read_manifest

VULTURE = (Tag("Animal", 0.99), Tag("Bird", 0.99, ("Animal",)), Tag("Vulture", 0.99, ("Bird", "Animal")))
DOG = (Tag("Animal", 0.95), Tag("Dog", 0.9, ("Animal",)))
CAT = (Tag("Animal", 0.9), Tag("Cat", 0.8, ("Animal",)))


def says(image_id: int, role: Role, draw: int) -> Sequence[Tag] | None:
    """Of image 0 a vulture, but nothing of 5 in 100 draws; image 1 itself a cat, noisy a dog; of image 2 dogs, vultures
    and refused pictures, 40, 57 and 3 in 100.
    """
    if image_id == 0:
        return () if role == Role.ESTIMATION and draw % 20 == 7 else VULTURE
    if image_id == 1:
        return CAT if role == Role.REFERENCE else DOG
    return None if draw in (97, 98, 99) else DOG if draw % 5 < 2 else VULTURE


@pytest.fixture(autouse=True)
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    add_scripted(monkeypatch)


def radius(top: int, n: int, alpha: float) -> float:
    return float(0.25 * norm.ppf(beta.ppf(alpha, top, n - top + 1)))


def test_another_rule_by_hand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = asked(tmp_path, says)
    before = read_certificates(tmp_path).set_index("image_id")
    assert before["prediction_name"].tolist() == ["Animal", "Animal", "Animal"]  # of equal scores the first name
    rows = recertify(tmp_path, label_rule="leaf", alpha=0.0005).set_index("image_id")
    assert rows["source"].tolist() == [f"recertified from {source}"] * 3
    assert rows["prediction_name"].tolist()[:2] == ["Vulture", "Dog"]
    assert rows["label_name"].tolist() == ["Vulture", "Cat", "Dog"]
    assert rows["correct"].tolist()[:2] == [True, False]
    assert rows["count_top"].tolist()[:2] == [95, 100]
    assert rows["count_rejected"].tolist() == [5, 0, 3]
    assert rows["radius"].tolist()[:2] == pytest.approx([radius(95, 100, 0.0005), radius(100, 100, 0.0005)], abs=1e-9)
    assert rows["abstain"].tolist() == [False, False, True]  # 57 of 100 at most
    assert rows["reference"].tolist() == [True] * 3
    assert "choose with --alpha divided by k for each" in capsys.readouterr().err
    manifest = read_manifest(RunFolder.of(tmp_path, str(rows["run_id"].iloc[0])))
    assert (manifest["queries"]["label_rule"], manifest["settings"]["label_rule"]) == ("leaf", "leaf")
    assert recertify(tmp_path, label_rule="leaf", alpha=0.0005)["run_id"].tolist() == rows["run_id"].tolist()


def test_fewer_draws_and_closed_labels(tmp_path: Path) -> None:
    asked(tmp_path, says)
    rows = recertify(tmp_path, label_rule="has:Vulture@0.5", n=50).set_index("image_id")
    assert rows["prediction_name"].tolist()[:2] == ["Vulture", "(other)"]
    # Of the first 50 draws of image 0, numbers 7, 27 and 47 have no answer.
    assert rows[["count_top", "count_rejected", "n_used"]].iloc[0].tolist() == [47, 3, 50]
    assert rows["radius"].iloc[0] == pytest.approx(radius(47, 50, 0.001), abs=1e-9)


def test_the_same_rule_gives_the_same_rows(tmp_path: Path) -> None:
    source = asked(tmp_path, says)
    rows = recertify(tmp_path, label_rule="top").drop(columns=["run_id", "source"])
    own = read_certificates(tmp_path)
    own = own[own["run_id"] == source].reset_index(drop=True)
    pd.testing.assert_frame_equal(rows.reset_index(drop=True), own[rows.columns], check_dtype=False)
    other = recertify(tmp_path, source, alpha=0.01)  # from counts: names as the answers had them
    assert other["prediction_name"].tolist()[:2] == ["Animal", "Animal"]


def test_rows_say_which_rule_gave_their_labels(tmp_path: Path) -> None:
    asked(tmp_path, says)
    source = asked(tmp_path, says, label_rule="leaf")
    recertify(tmp_path, source, label_rule="has:Dog@0.5")
    assert set(recertify(tmp_path, source, alpha=0.01)["classifier"]) == {"scripted labels leaf"}
    rows = read_certificates(tmp_path)
    assert set(rows["classifier"]) == {"scripted", "scripted labels leaf", "scripted labels has:Dog@0.5"}


def test_accepted_labels(tmp_path: Path) -> None:
    file = tmp_path / "accepted.yaml"
    file.write_text("4: [Animal, Vulture]\n7: [Dog]\n")
    asked(tmp_path / "out", says, accepted=str(file))
    before = read_certificates(tmp_path / "out").set_index("image_id")
    assert before["correct"].tolist() == [True, True, False]  # the digits are 4, 4 and 7, and an animal is 4
    rows = recertify(tmp_path / "out", label_rule="leaf").set_index("image_id")
    assert rows["correct"].tolist() == [True, False, False]
    assert rows["label"].tolist() == [4, 4, 7]
    file.write_text("4: [Vulture]\n")
    with pytest.raises(RaysmoothError, match="has changed since"):
        recertify(tmp_path / "out", label_rule="leaf")


def test_refusals(tmp_path: Path) -> None:
    out = tmp_path / "out"
    asked(out, says)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"label_rule": "leafs"}, "leaf"),
        ({"accepted": "numbers"}, "has no labels of the data, only the API's own answers"),
        ({"label_rule": "leaf", "n": 200}, "has n=100 draws per image"),
        ({"label_rule": "leaf", "rejection": "off"}, "is of a vision API"),
        ({"label_rule": "leaf", "envelope": "a,b"}, "--envelope joins certificates as they are"),
    ]
    for given, words in cases:
        with pytest.raises(RaysmoothError, match=words):
            recertify(out, **given)
    adaptive = tmp_path / "adaptive"
    asked(adaptive, says, sampling="adaptive", n=1000)
    with pytest.raises(RaysmoothError, match="write 'raysmooth certify --offline' with the rule"):
        recertify(adaptive, label_rule="leaf")


def test_a_log_that_lacks_answers_or_has_others_is_refused(tmp_path: Path) -> None:
    digest = image_digest(planned(tmp_path / "a").dataset.read(1).image)
    asked(tmp_path / "a", says, skipped=[DrawKey(digest, Role.ESTIMATION, 3)])
    with pytest.raises(RaysmoothError, match=r"image 1: the query log in .* lacks some of its draws: write 'raysmooth"):
        recertify(tmp_path / "a", label_rule="leaf")
    asked(tmp_path / "b", says, numbers=1)  # they were asked for another data set, in which these are other images
    with pytest.raises(RaysmoothError, match=r"image 0: the query log in .* has no answers that fit its counts"):
        recertify(tmp_path / "b", label_rule="leaf")
    assert len(read_certificates(tmp_path / "b")) == 3  # nothing was written


@pytest.mark.parametrize("noisy", [True, False])
def test_answers_of_two_models_are_refused(tmp_path: Path, noisy: bool) -> None:
    """The images' own answers are of the same model as those to their noisy pictures."""

    def version(key: DrawKey) -> str:
        return "2" if (key.draw == 99 if noisy else key.role == Role.REFERENCE) else "1"

    asked(tmp_path, says, version=version)
    with pytest.raises(
        RaysmoothError, match=r"several versions of the model behind scripted, or .*, (1 and 2|2 and 1)"
    ):
        recertify(tmp_path, label_rule="leaf")
    assert len(read_certificates(tmp_path)) == 3  # nothing was written


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked(tmp_path, says)
    code, out, err = command(capsys, "recertify", str(tmp_path), "--label-rule", "leaf")
    assert code == 0, err
    assert "certified agreement" in out.lower()
    assert "the guarantee is that of a label rule chosen before its results were seen" in err


@pytest.mark.processes
def test_no_network_no_sdk_no_data_and_no_torch(tmp_path: Path) -> None:
    asked(tmp_path, says)
    code = (
        "import socket, sys\n"
        "def refuse(*arguments, **options): raise AssertionError('a socket')\n"
        "socket.socket.connect = refuse; socket.create_connection = refuse\n"
        "from raysmooth.pipeline.derived.recertify import recertify\n"
        f"rows = recertify({str(tmp_path)!r}, label_rule='leaf')\n"
        "assert rows['prediction_name'].iloc[0] == 'Vulture'\n"
        "heavy = {'torch', 'ray', 'boto3', 'aiohttp', 'grpc', 'sklearn', 'openai'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
