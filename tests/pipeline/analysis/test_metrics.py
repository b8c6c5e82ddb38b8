import numpy as np
import pandas as pd
import pytest
from certificate_rows import DECIDE, DECIDED, PLAIN, A, run_of, sampled_run

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.metrics import (
    FIXED,
    abstention_rate,
    asked_radius,
    average_certified_radius,
    certified_accuracy,
    certified_radii,
    certified_share,
    decided_at,
    error_count,
    labelled,
    mean_draws,
    samplings,
    undecided_share,
)


def rows_of(*rows):
    return pd.DataFrame(rows, columns=["prediction", "abstain", "correct", "radius", "status"])


EIGHT = rows_of(
    (3, False, True, 0.5, "ok"),
    (1, False, True, 0.25, "ok"),
    (4, False, True, 1.0, "ok"),
    (7, False, True, 0.1, "ok"),
    (2, False, False, 0.75, "ok"),  # wrong, however large its radius
    (-1, True, False, 0.0, "ok"),
    (-1, True, False, 0.0, "ok"),
    (None, False, False, None, "error"),
)
UNLABELLED = EIGHT.assign(correct=[None] * 7 + [False])


def test_certified_accuracy_by_hand():
    radii = [0, 0.1, 0.2, 0.25, 0.5, 0.75, 1.0, 1.01]
    np.testing.assert_array_equal(
        certified_accuracy(EIGHT, radii), [4 / 8, 4 / 8, 3 / 8, 3 / 8, 2 / 8, 1 / 8, 1 / 8, 0]
    )


def test_a_radius_equal_to_r_is_certified_and_the_next_float_above_is_not():
    tie = [0.25, np.nextafter(0.25, 1)]
    np.testing.assert_array_equal(certified_accuracy(EIGHT, tie), [3 / 8, 2 / 8])


def test_certified_share_counts_wrong_classes_too():
    np.testing.assert_array_equal(certified_share(EIGHT, [0, 0.75, 1]), [5 / 8, 2 / 8, 1 / 8])


def test_abstentions_and_errors_are_not_even_certified_at_zero():
    np.testing.assert_array_equal(certified_radii(EIGHT), [0.5, 0.25, 1.0, 0.1, *[-np.inf] * 4])


def test_acr_by_hand():
    assert average_certified_radius(EIGHT) == (0.5 + 0.25 + 1.0 + 0.1) / 8


def test_acr_does_not_drift_up_with_the_order_of_a_sum():
    many = rows_of(*[(0, False, True, 0.1, "ok")] * 1000)
    assert average_certified_radius(many) == 0.1


def test_abstentions_and_errors_by_hand():
    assert abstention_rate(EIGHT) == 2 / 8
    assert error_count(EIGHT) == 1


def test_the_dtypes_of_a_parquet_file_with_nulls_do_not_matter():
    nullable = EIGHT.convert_dtypes()
    assert nullable["correct"].dtype == "boolean"
    np.testing.assert_array_equal(certified_accuracy(nullable, [0, 0.5]), [4 / 8, 2 / 8])
    assert average_certified_radius(nullable) == average_certified_radius(EIGHT)


def test_an_unlabelled_run_has_shares_and_no_accuracy():
    assert not labelled(UNLABELLED)
    assert np.isnan(certified_accuracy(UNLABELLED, [0, 1])).all()
    assert np.isnan(average_certified_radius(UNLABELLED))
    np.testing.assert_array_equal(certified_share(UNLABELLED, [0, 0.75]), [5 / 8, 2 / 8])


def test_single_missing_labels_count_as_wrong():
    one_missing = EIGHT.assign(correct=[None, *EIGHT["correct"][1:]])
    assert labelled(one_missing)
    np.testing.assert_array_equal(certified_accuracy(one_missing, [0]), [3 / 8])


def test_a_run_of_nothing_but_errors_has_accuracy_zero():
    errors = EIGHT.tail(1)
    assert labelled(errors)
    assert certified_accuracy(errors, [0]) == 0
    assert average_certified_radius(errors) == 0


@pytest.mark.parametrize("metric", [abstention_rate, average_certified_radius, certified_radii])
def test_no_rows_are_refused(metric):
    with pytest.raises(RaysmoothError, match="no certificate rows"):
        metric(EIGHT.head(0))


def test_a_run_that_decides_one_radius_knows_nothing_beyond_it():
    rows = sampled_run(A, DECIDE, DECIDED, undecided=2)
    radii = [0, 0.3, np.nextafter(0.3, 1), 1]
    np.testing.assert_array_equal(certified_accuracy(rows, radii), [3 / 8, 3 / 8, np.nan, np.nan])
    np.testing.assert_array_equal(certified_share(rows, radii), [4 / 8, 4 / 8, np.nan, np.nan])
    assert np.isnan(average_certified_radius(rows))
    assert np.isnan(abstention_rate(rows))
    assert undecided_share(rows) == 2 / 8
    assert np.isnan(undecided_share(EIGHT))


def test_the_radius_that_a_run_decides():
    assert decided_at("decide:radius=0.3") == 0.3
    assert decided_at("adaptive:tolerance=2%,pilot=100") == decided_at("fixed") == np.inf
    assert asked_radius(sampled_run(A, DECIDE, DECIDED)) == 0.3
    assert asked_radius(EIGHT) == np.inf


def test_mean_draws_leaves_out_error_rows():
    assert (
        mean_draws(sampled_run(A, "adaptive:tolerance=2%,pilot=100"))
        == (300 + 500 + 700 + 900 + 1100 + 1300 + 1501) / 7
    )


def test_rows_older_than_the_columns_were_fixed_and_made_all_draws():
    old = run_of(A, PLAIN)
    assert set(samplings(old)) == {FIXED}
    assert mean_draws(old) == 10_100
    mixed = pd.concat([old.head(1), old.iloc[1:2].assign(sampling="fixed", draws=10_000)], ignore_index=True)
    assert list(samplings(mixed)) == [FIXED, FIXED]
    assert mean_draws(mixed) == 10_050
    assert np.isnan(mean_draws(old.tail(1)))  # an error row alone
    assert np.isnan(mean_draws(old.assign(sampling=DECIDE)))


def test_draws_are_unknown_where_n_is():
    for unknown in ({"n": None}, {"n0": None}, {"n": float("nan")}, {"n0": None, "n": None}):
        assert np.isnan(mean_draws(run_of(A, **unknown)))
        assert np.isnan(mean_draws(run_of(A, **unknown).assign(draws=None)))
    assert mean_draws(run_of(A).assign(draws=None)) == 10_100
    assert mean_draws(run_of(A, n=None).assign(draws=300)) == 300
