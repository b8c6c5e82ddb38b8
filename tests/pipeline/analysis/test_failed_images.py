"""What is said of images that failed, and when a command fails with them."""

import pandas as pd
import pytest

from raysmooth.pipeline.analysis.failures import failures, lines_of

RUN = "0123456789abcdef"


def rows(*errors: str | None, run_id: str = RUN, files: bool = True) -> pd.DataFrame:
    """Rows of a run, None for an image that did not fail."""
    frame = pd.DataFrame({"image_id": range(len(errors)), "error": list(errors), "run_id": run_id})
    frame["status"] = ["ok" if error is None else "error" for error in errors]
    return frame.assign(file=[f"cat/{number}.png" for number in range(len(errors))]) if files else frame


def test_the_most_frequent_reason_is_said_with_its_first_image() -> None:
    (found,) = failures(rows(None, "too dark", "no image (7 bytes)", None, "no image (19 bytes)", None, None, None))
    assert [(reason.text, reason.count, reason.image_id) for reason in found.reasons] == [
        ("no image (7 bytes)", 2, 2),
        ("too dark", 1, 1),
    ]
    assert found.describe() == (
        "3 of 8 images failed: most often (2 times): no image (7 bytes); the first: image 2 (cat/2.png)"
    )


def test_one_failure_and_one_reason() -> None:
    assert failures(rows(None, "NaN"))[0].describe() == "1 of 2 images failed: image 1 (cat/1.png): NaN"
    (found,) = failures(rows("NaN", "NaN", files=False))
    assert found.describe() == "2 of 2 images failed: NaN; the first: image 0"
    assert failures(rows(None, None)) == []


@pytest.mark.parametrize(("failed", "images", "most"), [(1, 3, False), (4, 9, False), (1, 2, True), (5, 9, True)])
def test_at_least_half_are_most(failed: int, images: int, most: bool) -> None:
    (found,) = failures(rows(*["NaN"] * failed, *[None] * (images - failed)))
    assert found.are_most == most


def test_runs_with_the_same_failures_are_said_once() -> None:
    same = failures(pd.concat([rows("NaN", None), rows("NaN", None, run_id="f" * 16)]))
    assert lines_of(same) == ["1 of 2 images failed: image 0 (cat/0.png): NaN"]
    assert lines_of(same, ["plain", "mse"])[0].startswith("stages plain, mse: 1 of 2 images failed")
    other = failures(pd.concat([rows("NaN", None), rows("NaN", "NaN", run_id="f" * 16)]))
    assert [line.partition(":")[0] for line in lines_of(other)] == [f"run {RUN}", f"run {'f' * 16}"]
    assert [line.partition(":")[0] for line in lines_of(other, ["plain", "mse"])] == ["stage plain", "stage mse"]


def test_reasons_and_files_stay_one_line() -> None:
    (found,) = failures(rows("a\nb\x1b[31m" + "c" * 500).assign(file="x\ny"))
    assert found.describe().isprintable()
    assert len(found.describe()) < 300
