"""Rejected draws by class, by outcome and against kept ones, each number by hand."""

import numpy as np
import pandas as pd
import pytest
from rejecting_runs import N, plain_run, rejecting_run

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.rejection import (
    has_rejector,
    rejection_by_class,
    rejection_counts,
    rejection_histogram,
)


def test_rejected_draws_by_class_and_outcome() -> None:
    found = rejection_by_class(rejecting_run())
    assert found["label"].isna().tolist() == [True, False, False, False]
    assert found["label"].tolist()[1:] == [0, 1, 2]
    assert found["all"].tolist() == [True, False, False, False]
    assert found["images"].tolist() == [7, 1, 3, 3]  # the failed image is in none
    assert found["draws"].tolist() == [7 * N, N, 3 * N, 3 * N]
    assert found["rejected"].tolist() == [900 + 3500 + 5900 + 2000 + N, 900, 3500 + 5900, 2000 + N]
    assert found["images correct"].tolist() == [4, 1, 2, 1]
    assert found["rejected correct"].tolist() == [900 + 3500, 900, 3500, 0]
    assert found["images wrong"].tolist() == [1, 0, 1, 0]
    assert found["rejected wrong"].tolist() == [5900, 0, 5900, 0]
    assert found["images abstained"].tolist() == [2, 0, 0, 2]
    assert found["rejected abstained"].tolist() == [2000 + N, 0, 0, 2000 + N]
    assert found["images unlabelled"].sum() == 0


def test_without_labels_there_is_one_row_and_no_right_or_wrong() -> None:
    rows = rejecting_run()
    rows = rows.assign(label=None, correct=rows["correct"].astype("boolean").mask(rows["status"] == "ok"))
    (line,) = rejection_by_class(rows).to_dict("records")
    assert (line["images"], line["images unlabelled"], line["images abstained"]) == (7, 5, 2)
    assert line["images correct"] == line["images wrong"] == 0


def test_a_histogram_has_each_image_once_and_none_above_the_diagonal() -> None:
    found = rejection_histogram(rejecting_run(), 10)
    # Bins of 1,000 draws: rejected ones from the left end of a bin, kept ones up to its right end.
    places = {(0, 8), (0, 9), (3, 5), (5, 3), (2, 2), (9, 0)}
    assert {(int(x), int(y)) for x, y in np.argwhere(found)} == places
    assert found.sum() == 7
    assert found[0, 9] == 2  # 10,000 and 9,500 kept
    assert not found[np.add.outer(np.arange(10), np.arange(10)) > 9].any()


@pytest.mark.parametrize("bins", [3, 10, 25])
def test_images_on_the_diagonal_are_in_its_bins(bins: int) -> None:
    rejected = np.arange(121)
    rows = rejecting_run().iloc[np.zeros(121, int)].reset_index(drop=True)
    found = rejection_histogram(rows.assign(count_rejected=rejected, count_top=120 - rejected, n_used=120), bins)
    assert np.diag(found[:, ::-1]).sum() == found.sum() == 121


def test_what_is_no_run_with_a_rejector_is_refused() -> None:
    assert not has_rejector(plain_run())
    assert has_rejector(pd.concat([plain_run(), rejecting_run()]))
    with pytest.raises(RaysmoothError, match=r"run c{16} has no rejected draws of a fixed number: certify with"):
        rejection_counts(plain_run())
    decided = rejecting_run().assign(sampling="decide:radius=0.5")
    assert not has_rejector(decided)
    assert has_rejector(pd.concat([decided, rejecting_run("d" * 16)]))
    with pytest.raises(RaysmoothError, match="decides one radius"):
        rejection_counts(decided)
    with pytest.raises(RaysmoothError, match="more than one run_id"):
        rejection_counts(pd.concat([rejecting_run(), rejecting_run("d" * 16)]))
