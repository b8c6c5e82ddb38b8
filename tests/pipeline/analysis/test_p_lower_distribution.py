import numpy as np
import pandas as pd
import pytest
from certificate_rows import DECIDE, DECIDED, A, B, run_of, sampled_run
from simulated_runs import rows_of_counts

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.metrics import average_certified_radius
from raysmooth.pipeline.analysis.p_lower_distribution import EDGES, ceiling, p_lower_histogram, p_lower_quantiles

# p_lower at alpha 0.001: 0.9931 twice (all agree), 0.9688, 0.8675, 0.6506, abstained twice, and one error.
COUNTS = np.array([1000, 1000, 985, 899, 697, 520, 300, 0])


def rows() -> pd.DataFrame:
    frame = rows_of_counts(COUNTS, 1000, 0.001)
    failed = frame.index == 7
    for column in ("radius", "p_lower", "count_top", "n_used"):
        frame[column] = frame[column].mask(failed)
    return frame.assign(
        correct=[True, False, True, True, True, False, False, False],
        abstain=frame["abstain"] & ~failed,
        status=np.where(failed, "error", "ok"),
    )


def test_histogram_by_hand() -> None:
    table = p_lower_histogram(rows(), [0, 0.5, 0.8, 0.98, 1])
    assert list(table["low"]) == [0, 0.5, 0.8, 0.98]
    assert list(table["high"]) == [0.5, 0.8, 0.98, 1]
    assert list(table["right"]) == [0, 1, 2, 1]
    assert list(table["wrong"]) == [0, 0, 0, 1]
    assert list(table["abstained"]) == [2, 0, 0, 0]
    assert list(table["unlabelled"]) == [0, 0, 0, 0]
    assert list(table["images"]) == [2, 1, 2, 2]


def test_bins_hold_their_upper_edge_and_the_first_its_lower_one() -> None:
    frame = rows_of_counts(np.array([10, 10, 10, 10]), 10, 0.1).assign(p_lower=[0.0, 0.5, np.nextafter(0.5, 1), 1.0])
    assert list(p_lower_histogram(frame, [0, 0.5, 1])["right"]) == [2, 2]
    assert p_lower_histogram(frame)["images"].sum() == 4
    assert list(EDGES) == sorted(set(EDGES))


def test_labels_unknown() -> None:
    frame = rows_of_counts(COUNTS, 1000, 0.001, label=None, correct=None)
    assert p_lower_histogram(frame)["unlabelled"].sum() == 5
    assert np.isnan(ceiling(frame).acr_share)
    assert ceiling(frame).images == 2


def test_quantiles_are_images_own_and_never_above_the_middle_of_two() -> None:
    frame = rows()
    ordered = np.sort(frame["p_lower"].dropna())  # seven
    found = p_lower_quantiles(frame, [0, 0.5, 0.6, 1])
    assert list(found) == [ordered[0], ordered[3], ordered[3], ordered[6]]  # 0.6 of 6 steps is 3.6: the fourth
    assert list(found.index) == [0, 0.5, 0.6, 1]
    assert p_lower_quantiles(frame.tail(1)).isna().all()


def test_ceiling_by_hand() -> None:
    found = ceiling(rows())
    assert (found.images, found.share) == (2, 2 / 7)
    right = rows().loc[[0, 2, 3, 4], "radius"].astype(float)
    assert found.acr_share == pytest.approx(right[0] / right.sum())
    assert found.acr_share == pytest.approx(right[0] / 8 / average_certified_radius(rows()))
    assert np.isnan(ceiling(rows().tail(1)).share)


def test_all_draws_that_an_adaptive_image_got() -> None:
    """Half the draws, all agreeing, are at their ceiling too; an image that was not worth any is not."""
    frame = rows_of_counts(np.array([500, 998, 0]), np.array([500, 1000, 0]), 0.001, sampling="adaptive:tolerance=2%")
    found = ceiling(frame)
    assert (found.images, found.share) == (1, 1 / 3)
    assert p_lower_histogram(frame)["abstained"][0] == 1


def test_refusals() -> None:
    for ask in (p_lower_histogram, p_lower_quantiles, ceiling):
        with pytest.raises(RaysmoothError, match="decides one radius"):
            ask(sampled_run(A, DECIDE, DECIDED))
        with pytest.raises(RaysmoothError, match="has no count_top"):
            ask(run_of(A))
        with pytest.raises(RaysmoothError, match="no certificate rows"):
            ask(rows().head(0))
        with pytest.raises(RaysmoothError, match="more than one run_id"):
            ask(pd.concat([rows(), rows().assign(run_id=B)]))
    with pytest.raises(RaysmoothError, match="has no p_lower"):
        p_lower_quantiles(rows().drop(columns="p_lower"))
