"""Notes of stages, records of trainings and of sweeps that were damaged, or that another person wrote."""

import json
from pathlib import Path

import pytest
from sweeps import settings_of

from raysmooth.common.errors import RaysmoothError
from raysmooth.tune.experiments.results import Result, read_note, write_note
from raysmooth.tune.sweeps.folder import refuse_other_sweep
from raysmooth.tune.training.training_folder import TrainingFolder

TORN = ["", "{half", "[1]", "null", '"x"', "[" * 100_000, '{"a": NaN}', '{"a": 1, "a": 2}']


def test_a_note_is_read_as_written_and_a_bad_one_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = Result("d", weights="weights/a.safetensors", runs={"0123456789abcdef": 3}, files={"a": "ab" * 32})
    write_note(tmp_path, "a", "hash", {}, result)
    assert read_note(tmp_path, "a") == ("hash", result)
    assert read_note(tmp_path, "b") is None
    assert capsys.readouterr().err == ""
    file = tmp_path / "stages/a.json"
    good = json.loads(file.read_text())
    outside = [{"weights": "/etc/passwd"}, {"folder": "../.."}, {"runs": {"../x": 1}}, {"files": {"../x": "ab" * 32}}]
    for content in (*TORN, *(json.dumps({**good, "result": {**good["result"], **change}}) for change in outside)):
        file.write_text(content)
        assert read_note(tmp_path, "a") is None
        err = capsys.readouterr().err
        assert err.startswith(f"raysmooth: {file}: ")
        assert err.count("\n") == 1


@pytest.mark.parametrize("content", TORN)
def test_a_damaged_record_of_a_sweep_or_a_training_is_one_line(content: str, tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    refuse_other_sweep(out, settings_of(out))
    (out / "sweep.json").write_text(content)
    with pytest.raises(RaysmoothError, match=r"the sweep in .* is unknown: .*sweep\.json: .*: write another 'out'"):
        refuse_other_sweep(out, settings_of(out))
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(b"weights")
    folder = TrainingFolder(weights, {"objective": "clean"})
    folder.path.mkdir()
    (folder.path / "training.json").write_text(content)
    with pytest.raises(RaysmoothError, match=r"is unknown: .*training\.json: .*: write another --out, or --overwrite"):
        folder.open(overwrite=False)
