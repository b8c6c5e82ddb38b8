"""The field's log of a run: as certify.py writes it, and read back into equal tables."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from certificate_rows import PLAIN
from exported_runs import RUN, written_run
from own_levels import searched
from small_runs import certified

import raysmooth
from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.certificates import read_certificates
from raysmooth.pipeline.export.exported_run import exported_runs
from raysmooth.pipeline.export.locuslab import import_flags

DIGITS: dict[str, Any] = {
    "dataset": "digits", "classifier": "base_classifiers:Linear", "sigma": 0.25, "skip": 7, "max": 9, "n0": 20,
    "n": 200, "block_size": 100,
}  # fmt: skip
SAME = ["image_id", "label", "prediction", "abstain", "correct", "radius", "image_sigma"]


def read_back(out: Path, log: Path, run: str, into: Path) -> pd.DataFrame:
    """The log imported with the facts of its run."""
    raysmooth.export(out, "locuslab", run=run, out=log)
    (exported,) = exported_runs(out, [run])
    flags = import_flags(exported)
    given = {"image_sigmas": "--image-sigmas" in flags}
    given |= {
        name.removeprefix("--").replace("-", "_"): flags[flags.index(name) + 1]
        for name in flags
        if name != "--image-sigmas" and name.startswith("--")
    }
    return raysmooth.import_logs(log, out=into, **given)


def test_a_drawn_run_reads_back_into_equal_tables(tmp_path: Path) -> None:
    run = certified(tmp_path / "drawn", **DIGITS)
    certified(tmp_path / "drawn", **{**DIGITS, "sigma": 0.5})
    back = read_back(tmp_path / "drawn", tmp_path / "log.tsv", run, tmp_path / "read")
    rows = read_certificates(tmp_path / "drawn")
    own = rows[rows["run_id"] == run].sort_values("image_id", ignore_index=True)
    pd.testing.assert_frame_equal(back[SAME], own[SAME], check_dtype=False)  # radii to the last digit
    np.testing.assert_allclose(back["seconds"].astype(float), own["seconds"], atol=1e-6)
    summaries = [raysmooth.summarize(one, [0, 0.1, 0.2], 0.05).iloc[0] for one in (own, back)]
    facts = ["dataset", "split", "index_set", "classifier", "noise", "norm", "sigma", "n0", "n", "alpha", "images"]
    for column in [*facts, *(name for name in summaries[0].index if name.startswith("r=")), "ACR", "abstain"]:
        assert summaries[0][column] == summaries[1][column], column


def test_the_log_is_that_of_certify_py(tmp_path: Path) -> None:
    out = written_run(tmp_path, [(1, 0.1 + 0.2), (2, 0.75), (-1, 0.0), (None, None)], seconds=75.5)
    text = raysmooth.export(out, "locuslab", run=RUN[:4])
    assert text.splitlines() == [
        "idx\tlabel\tpredict\tradius\tcorrect\ttime",
        "0\t1\t1\t0.30000000000000004\t1\t0:00:00.100000",
        "50\t1\t2\t0.75\t0\t0:00:00.100000",
        "100\t1\t-1\t0.0\t0\t0:00:00.100000",
        "150\t1\t-1\t0.0\t0\t0:00:00.100000",
    ]
    assert text.endswith("\n")


def test_errors_and_what_a_log_leaves_out_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = written_run(tmp_path, PLAIN, images=20, index_set=None)
    raysmooth.export(out, "locuslab", out=tmp_path / "a log.tsv")
    said = capsys.readouterr().err
    assert "1 image failed: written as abstentions, as such logs do" in said
    assert "the run is unfinished: 8 of 20 images" in said
    assert f"to read it back: raysmooth import '{tmp_path / 'a log.tsv'}' --dataset digits" in said
    assert (tmp_path / "a log.tsv").read_text().count("\n") == 9


def test_certified_accuracy_of_a_run_with_errors_is_the_same_after_reading_back(tmp_path: Path) -> None:
    out = written_run(tmp_path / "out", [(label, radius and min(radius, 0.75)) for label, radius in PLAIN])
    back = read_back(out, tmp_path / "log.tsv", RUN, tmp_path / "read")
    both = [raysmooth.summarize(rows, [0, 0.25, 0.5]).iloc[0] for rows in (read_certificates(out), back)]
    for column in ("r=0", "r=0.25", "r=0.5", "ACR"):
        assert both[0][column] == both[1][column]


def test_images_with_their_own_levels_have_them_in_a_column(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = {**DIGITS, "skip": 1, "max": 4}
    levels = {image: 0.2 + 0.1 * image for image in range(4)}
    search = searched(tmp_path / "own", settings, levels, failed={})
    run = certified(tmp_path / "own", **settings, sigmas=search[:6], rejector="margin:threshold=0.1")
    back = read_back(tmp_path / "own", tmp_path / "log.tsv", run, tmp_path / "read")
    log, said = pd.read_csv(tmp_path / "log.tsv", sep="\t"), capsys.readouterr().err
    assert "the log does not name the rejector, margin:threshold=0.1: say it where you publish the log" in said
    assert "each image has its own sigma (" in said
    assert log["sigma"].tolist() == list(levels.values())
    assert back["image_sigma"].tolist() == list(levels.values())
    assert back["radius"].tolist() == [float(text) for text in log["radius"]]


def test_a_log_without_times_has_no_such_column(tmp_path: Path) -> None:
    log = tmp_path / "log.tsv"
    log.write_text("idx\tlabel\tpredict\tradius\tcorrect\n0\t3\t3\t0.25\t1\n")
    raysmooth.import_logs(log, out=tmp_path / "out", dataset="cifar10", classifier="c", sigma=0.25)
    text = raysmooth.export(tmp_path / "out", "locuslab")
    assert pd.read_csv(io.StringIO(text), sep="\t").columns.tolist() == ["idx", "label", "predict", "radius", "correct"]
    assert text == log.read_text()


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"label": None}, "its shares are 'certified \\(class unchecked\\)', and such a log needs the labels of the data"),
    ({"reference": True}, "its shares are 'certified agreement'"),
    ({"sampling": "decide:radius=0.3"}, "it decides one radius \\(decide:radius=0.3\\), beside which"),
    (
        {"norm": "linf"},
        "such a log is read as l2, and its radii are in linf: 'raysmooth recertify --norm l2' first, or",
    ),
    ({"source": "memory of 0123"}, "its certificates hold for a classifier that remembers its answers"),
    ({"sigma": None, "sigma_rule": "envelope of 0.25, 0.5"}, "it joins several noise levels"),
]


@pytest.mark.parametrize(("facts", "reason"), REFUSED)
def test_what_such_a_log_cannot_state_is_refused(facts: dict[str, Any], reason: str, tmp_path: Path) -> None:
    outcomes = [(1, 0.3), (-1, 0.0)]
    out = written_run(tmp_path / "out", outcomes, **facts)
    with pytest.raises(RaysmoothError, match=f"run {RUN} has no locuslab log, as {reason}") as refused:
        raysmooth.export(out, "locuslab", out=tmp_path / "log.tsv")
    assert "\n" not in str(refused.value)
    assert str(refused.value).endswith('write format="json"')
    assert not (tmp_path / "log.tsv").exists()
