import pandas as pd
import pytest
from certificate_rows import DENOISED, A, B, run_of

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.run_facts import describe_runs
from raysmooth.pipeline.analysis.run_selection import checked_column, find_run, refuse_mixed_norms, where

C = "c" * 16
ROWS = pd.concat(
    [run_of(A), run_of(B, sigma=0.5, **DENOISED), run_of(C, sigma=1.0, denoiser="memnet", objective=None)],
    ignore_index=True,
)


@pytest.mark.parametrize(
    ("conditions", "runs"),
    [
        ([], {A, B, C}),
        (["sigma=0.5"], {B}),
        (["sigma=.50"], {B}),
        (["sigma=0.5", "sigma=1"], {B, C}),
        (["sigma=0.5", "sigma=1", "denoiser=memnet"], {C}),
        (["denoiser=dncnn"], {B}),
        ([f"denoiser={DENOISED['denoiser']}"], {B}),
        (["objective=unknown"], {C}),
        ([" n = 10000 "], {A, B, C}),
        (["run_id=0123"], {A}),
        (["bound=1 - pA"], {A, B, C}),
    ],
)
def test_conditions_choose_runs(conditions, runs):
    chosen = where(ROWS, conditions)
    assert set(chosen["run_id"]) == runs
    assert len(chosen) == 8 * len(runs)


@pytest.mark.parametrize(
    ("condition", "refusal"),
    [
        ("sigma", "--where sigma: write COLUMN=VALUE, such as sigma=0.5"),
        ("sigm=0.5", "--where sigm: runs have no such column: did you mean 'sigma'?"),
        ("radius=0.5", "--where radius: runs have no such column"),
        ("sigma=0.55", "--where sigma=0.55: none of these runs has that sigma: did you mean '0.5'?"),
        ("sigma=high", "--where sigma=high: none of these runs has that sigma: known: 0.25, 0.5, 1.0"),
        ("denoiser=dncn", "none of these runs has that denoiser"),
        ("run_id=", "none of these runs has that run_id"),
        ("classifier_fingerprint=a", "runs have no such column"),  # in other rows they do
    ],
)
def test_what_is_unknown_is_refused_with_the_nearest(condition, refusal):
    with pytest.raises(RaysmoothError) as refused:
        where(ROWS, [condition])
    assert refusal in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_bound_follows_from_other_columns():
    rows = pd.concat([run_of(A), run_of(B).assign(p_upper=0.1)])
    assert set(where(rows, ["bound=runner-up"])["run_id"]) == {B}
    assert set(where(rows, ["bound=1 - pA"])["run_id"]) == {A}


def test_conditions_that_no_run_meets_together_are_refused():
    with pytest.raises(RaysmoothError, match="none of these runs has that denoiser"):
        where(ROWS, ["sigma=0.5", "denoiser=memnet"])


def test_runs_are_found_by_how_their_id_begins():
    assert find_run(ROWS["run_id"], "fe", "--run") == B
    with pytest.raises(RaysmoothError, match=r"--run e: there is no such run: .*known: 0123456789012345, cccc"):
        find_run(ROWS["run_id"], "e", "--run")
    with pytest.raises(RaysmoothError, match="--run 0123: 2 run ids begin with it"):
        find_run([A, A[:4] + B], "0123", "--run")
    with pytest.raises(RaysmoothError, match="--run : there is no such run"):
        find_run([A], "", "--run")


def test_columns_for_groups():
    assert checked_column(ROWS, "sigma", "--group-by") == "sigma"
    with pytest.raises(
        RaysmoothError, match="--group-by objectives: runs have no such column: did you mean 'objective'"
    ):
        checked_column(ROWS, "objectives", "--group-by")


def test_norms_do_not_mix():
    refuse_mixed_norms(describe_runs(ROWS))
    with pytest.raises(RaysmoothError, match=r"different norms \(l2, linf\).*--where norm=l2"):
        refuse_mixed_norms(describe_runs(pd.concat([run_of(A), run_of(B, norm="linf")])))
