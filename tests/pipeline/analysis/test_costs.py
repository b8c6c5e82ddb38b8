import numpy as np
import pandas as pd
import pytest
from certificate_rows import ADAPTIVE, A, B, run_of, sampled_run

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.costs import costs
from raysmooth.pipeline.analysis.metrics import mean_draws


def test_by_hand() -> None:
    # Eight rows of 0.1 s each, one of them an error: 0.8 s for 7 certificates. Draws: 10,100 each, or those given.
    rows = pd.concat([run_of(A), sampled_run(B, ADAPTIVE)], ignore_index=True)
    table = costs(rows)
    assert list(table.index) == [A, B]
    assert list(table["images"]) == [8, 8]
    assert list(table["errors"]) == [1, 1]
    assert list(table["draws"]) == [7 * 10_100, 300 + 500 + 700 + 900 + 1100 + 1300 + 1501]
    assert list(table["draws_per_image"]) == [mean_draws(rows[rows["run_id"] == run]) for run in (A, B)]
    assert list(table["draws_per_1000"]) == pytest.approx([10_100_000, 6301 / 7 * 1000])
    assert list(table["seconds"]) == pytest.approx([0.8, 0.8])
    assert list(table["seconds_per_image"]) == pytest.approx([0.8 / 7] * 2)
    assert list(table["seconds_per_1000"]) == pytest.approx([800 / 7] * 2)


def test_what_is_unknown_is_nan_and_no_sum_of_the_rest() -> None:
    rows = run_of(A)
    table = costs(rows.assign(seconds=[None, *rows["seconds"][1:]], n=[None] * 8))
    assert table[["seconds", "seconds_per_image", "draws", "draws_per_1000"]].isna().all(axis=None)
    assert np.isnan(costs(rows.drop(columns="seconds"))["seconds"].item())
    nothing_but_errors = costs(rows.tail(1))
    assert nothing_but_errors["draws"].item() == 0
    assert np.isnan(nothing_but_errors["seconds_per_image"].item())


def test_no_rows_are_refused() -> None:
    with pytest.raises(RaysmoothError, match="no certificate rows"):
        costs(run_of(A).head(0))
