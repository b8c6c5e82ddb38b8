"""A vocabulary that was lost beside counts and rows with its codes is found, and no code gets another label."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from logged_runs import add_scripted, asked

import raysmooth
from raysmooth.actors.apis.answers import Tag
from raysmooth.actors.noise.role import Role
from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.derived.recertify import recertify
from raysmooth.pipeline.runs.apis.open_labels import open_vocabulary

SETTINGS: dict[str, Any] = {
    "dataset": "digits", "classifier": "scripted", "sigma": 0.25, "n": 100, "n0": 20, "max": 3, "block_size": 50,
    "progress": False,
}  # fmt: skip


def says(image_id: int, role: Role, draw: int) -> Sequence[Tag] | None:
    """Cats, but for one draw a dog, and one a refused picture."""
    return None if draw == 7 else (Tag("Dog" if image_id == 2 and draw == 99 else "Cat", 0.9),)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    add_scripted(monkeypatch)
    asked(tmp_path, says)
    file = tmp_path / "queries" / "vocabulary.json"
    assert json.loads(file.read_text()) == {"labels": ["Cat", "Dog"]}
    return file


LOST = {
    "deleted": (None, "vocabulary.json is missing, which run .* restore the file from a copy"),
    "an older copy": (["Cat"], "has no label with the code 1, which run"),
    "another order": (["Dog", "Cat"], "has 'Dog' as the label with the code 0, which run .* has .* as 'Cat'"),
}


@pytest.mark.parametrize("what", LOST)
def test_labels_that_are_not_there_are_refused(what: str, file: Path, tmp_path: Path) -> None:
    labels, message = LOST[what]
    if labels is None:
        file.unlink()
    else:
        file.write_text(json.dumps({"labels": labels}))
    before = file.read_text() if file.exists() else None
    for again in (
        lambda: recertify(tmp_path, label_rule="leaf"),
        lambda: recertify(tmp_path, alpha=0.01),
        lambda: raysmooth.certify(**SETTINGS, label_rule="leaf", offline=True, out=str(tmp_path)),
    ):
        with pytest.raises(RaysmoothError, match=message):
            again()
    assert (file.read_text() if file.exists() else None) == before


def test_runs_made_again_from_the_query_log_have_new_codes(file: Path, tmp_path: Path) -> None:
    """As the refusal says."""
    file.unlink()
    for folder in ("runs", "certificates"):
        (tmp_path / folder).rename(tmp_path / f"{folder}-away")
    rows = raysmooth.certify(**SETTINGS, label_rule="leaf", offline=True, out=str(tmp_path))
    assert rows["prediction_name"].tolist() == ["Cat"] * 3
    assert open_vocabulary(tmp_path, lambda: None).labels == ["Cat", "Dog"]


def test_a_finished_run_whose_labels_are_there_goes_on(file: Path, tmp_path: Path) -> None:
    rows = raysmooth.certify(**SETTINGS, label_rule="leaf", offline=True, out=str(tmp_path))
    assert rows["count_rejected"].tolist() == [1] * 3
    assert recertify(tmp_path, alpha=0.01)["prediction_name"].tolist() == ["Cat"] * 3 * 2
