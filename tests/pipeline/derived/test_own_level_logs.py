"""Logs with a sigma for each image, as the scripts of data-dependent smoothing write them."""

from pathlib import Path
from typing import Any

import pytest

from raysmooth.common.errors import RaysmoothError
from raysmooth.common.settings import checked
from raysmooth.pipeline.analysis.certificates import read_certificates
from raysmooth.pipeline.derived.import_settings import ImportSettings
from raysmooth.pipeline.derived.log_import import OF_LOG, import_logs

HEADING = "idx\tlabel\tpredict\tradius\tcorrect\tsigma\ttime\n"
LOG = f"{HEADING}0\t3\t-1\t0.0\t0\t0.1\t1\n20\t7\t7\t0.574\t1\t0.15\t1\n40\t4\t6\t2.3\t0\t0.6\t1\n"
"""At n=100,000 and alpha 0.001 the largest radius is 3.8115 sigma: 0.5717 and 2.2869, both rounded up here."""

GIVEN = {"dataset": "cifar10", "classifier": "resnet18", "sigma": 0.25, "n0": 100, "n": 100_000, "alpha": 0.001}


def imported(out: Path, log: str, **changes: Any) -> Any:
    file = out / "log.tsv"
    file.write_text(log)
    (run,) = import_logs([file], checked(ImportSettings, {**GIVEN, **changes, "out": str(out)}))
    return run


def test_each_image_keeps_its_level_and_no_radius_is_above_what_that_gives(tmp_path: Path) -> None:
    run = imported(tmp_path, LOG, image_sigmas=True)
    rows = read_certificates(tmp_path).sort_values("image_id")
    assert rows["image_sigma"].tolist() == [0.1, 0.15, 0.6]
    assert set(rows["sigma"]) == {0.25}
    assert set(rows["sigma_rule"]) == {OF_LOG}
    assert rows["radius"].tolist() == pytest.approx([0.0, 0.15 * 3.8115, 0.6 * 3.8115], rel=1e-4)
    assert "lines 3 and 4: rounded up, capped at 2.2868, or less, the largest of each image's sigma" in run.notes


def test_an_ordinary_log_of_the_same_lines_is_refused_and_has_another_id(tmp_path: Path) -> None:
    with pytest.raises(RaysmoothError, match="split the file by sigma, or write --image-sigmas if each image has its"):
        imported(tmp_path, LOG)
    same = f"{HEADING}0\t3\t3\t0.1\t1\t0.25\t1\n"
    plain = imported(tmp_path, same)
    with pytest.raises(RaysmoothError, match=f"is already run {plain.run_id}, with sigma_rule unknown"):
        imported(tmp_path, same, image_sigmas=True)
    (other := tmp_path / "other").mkdir()
    assert imported(other, same, image_sigmas=True).run_id != plain.run_id


@pytest.mark.parametrize(
    ("log", "words"),
    [
        (LOG.replace("sigma", "rho"), "line 2 has no column sigma: leave --image-sigmas out"),
        (LOG.replace("0.15", "0.0"), "line 3 has sigma 0: leave"),
        (LOG.replace("0.574", "0.9"), "line 3: radius 0.9 is more than sigma=0.15, n=100000 and alpha=0.001 can give"),
    ],
)
def test_levels_that_no_image_has_are_refused(tmp_path: Path, log: str, words: str) -> None:
    with pytest.raises(RaysmoothError, match=words):
        imported(tmp_path, log, image_sigmas=True)
