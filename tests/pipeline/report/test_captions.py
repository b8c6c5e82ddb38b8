import pandas as pd
import pytest
from certificate_rows import ADAPTIVE, DECIDE, DECIDED, DENOISED, PLAIN, A, B, run_of, sampled_run

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.run_facts import LABELLED, UNLABELLED, describe_runs
from raysmooth.pipeline.report.captions import caption, run_labels, shown_alpha, shown_confidence

DNCNN = DENOISED["denoiser"]


def labels_of(*runs):
    return run_labels(describe_runs(pd.concat(runs, ignore_index=True)))


def test_labels_distinguish_objectives_and_sigmas():
    assert labels_of(
        run_of("a" * 16, **DENOISED),
        run_of("b" * 16, sigma=0.12),
        run_of("c" * 16),
        run_of("d" * 16, denoiser=DNCNN, objective=None),
        run_of("e" * 16, PLAIN[:5], denoiser=DNCNN, objective="mse"),
    ) == [
        "no denoiser, sigma 0.12",
        "no denoiser, sigma 0.25",
        "dncnn, sigma 0.25",
        "MSE denoiser, sigma 0.25 (unfinished: 5 of 8)",
        "STAB+MSE denoiser, sigma 0.25",
    ]


def test_labels_name_the_objective_of_classifiers():
    assert labels_of(
        run_of("a" * 16, objective="clean"),
        run_of("b" * 16, objective="consistency:lambda=5"),
        run_of("c" * 16, objective="gaussian"),
        run_of("d" * 16, denoiser=DNCNN, objective="mse"),
    ) == ["no denoiser", "consistency:lambda=5 classifier", "gaussian classifier", "MSE denoiser"]


def test_labels_name_whatever_else_differs():
    assert labels_of(run_of("a" * 16, n=1000), run_of("b" * 16)) == [
        "n=1000, no denoiser",
        "n=10000, no denoiser",
    ]
    assert labels_of(
        run_of("a" * 16, denoiser="dncnn:depth=5", objective="mse"),
        run_of("b" * 16, denoiser="dncnn:depth=17", objective="mse"),
    ) == ["MSE dncnn:depth=17", "MSE dncnn:depth=5"]


def test_runs_equal_in_every_column_are_named_by_their_id():
    assert labels_of(run_of("a" * 16), run_of("b" * 16)) == [
        "no denoiser, run aaaaaaaa",
        "no denoiser, run bbbbbbbb",
    ]


def test_labels_distinguish_labelled_and_unlabelled_runs():
    runs = [run_of("a" * 16), run_of("b" * 16, label=None, dataset="faces")]
    assert labels_of(*runs) == ["digits, no denoiser", "faces, no denoiser, class unchecked"]
    assert list(describe_runs(pd.concat(runs))["quantity"]) == [LABELLED, UNLABELLED]


def test_the_caption_says_what_the_certificates_promise():
    denoised = run_of("b" * 16, denoiser=DNCNN, objective="mse", sigma=1.0)
    runs = describe_runs(pd.concat([run_of("a" * 16), denoised]))
    assert str(caption(runs)) == (
        "digits, test split, every 50th of 400 (8 images), classifier digits_cnn, gaussian noise, l2 norm, "
        f"denoiser {DNCNN}, n0=100, n=10000, alpha=0.001: "
        "each certificate holds with probability at least 0.999, all those of a run at once with 0.992"
    )


def test_the_caption_leaves_out_what_differs():
    runs = describe_runs(pd.concat([run_of("a" * 16, dataset="mnist"), run_of("b" * 16, alpha=0.01)]))
    assert str(caption(runs)).startswith("test split, every 50th")
    assert str(caption(runs)).endswith(
        "n0=100, n=10000: each certificate holds with probability at least 1 - alpha, "
        "all those of a run at once with 0.92"
    )


@pytest.mark.parametrize(
    ("alpha", "said"),
    [
        (0.05 / 8, "with probability at least 0.99375, all those of a run at once with 0.95"),
        (0.011 / 7, "with probability at least 0.99842, all those of a run at once with 0.9874"),  # 8/7 of 0.011
        # 0.1008 of one wrong: more than 2 with probability 56 * 0.0126^3 = 0.0001, more than 1 with 0.004.
        (0.0126, "with probability at least 0.9874, and with probability 0.999 at most 2 of a run's 8 are wrong"),
    ],
)
def test_the_caption_says_what_holds_of_all_images_at_once(alpha, said):
    assert caption_of(run_of("a" * 16, alpha=alpha)).endswith(said)


def test_of_runs_of_several_sizes_the_largest_number_of_wrong_ones_is_said():
    runs = [run_of("a" * 16, alpha=0.01, images=10_000), run_of("b" * 16, alpha=0.01, images=500)]
    # Poisson(100), nearly: its 0.999 quantile is 132, that of Binomial(10000, 0.01) as well.
    assert caption_of(*runs).endswith("and with probability 0.999 at most 132 of a run's certificates are wrong")


def test_a_run_with_two_values_of_a_setting_is_refused():
    with pytest.raises(RaysmoothError, match=r"run a{16} has rows of more than one sigma"):
        describe_runs(pd.concat([run_of("a" * 16), run_of("a" * 16, sigma=1.0)]))


def caption_of(*runs):
    return str(caption(describe_runs(pd.concat(runs, ignore_index=True))))


def test_the_caption_says_how_much_of_n_was_drawn():
    assert "n0=100, n up to 10000 (adaptive: tolerance 2%, mean 901 draws per image), alpha=0.001:" in caption_of(
        sampled_run(A, ADAPTIVE)
    )
    assert "n0=100, n up to 10000 (decided at r = 0.3, mean 901 draws per image), alpha=0.001:" in caption_of(
        sampled_run(A, DECIDE, DECIDED)
    )
    two = [sampled_run(A, ADAPTIVE), sampled_run(B, ADAPTIVE, sigma=1.0, draws=[12_000] * 8)]
    assert "n up to 10000 (adaptive: tolerance 2%, mean 901 to 12,000 draws per image)" in caption_of(*two)


def test_the_caption_where_ways_of_sampling_or_n_differ():
    assert "n0=100, n up to 10000 (fixed: all of them), alpha" in caption_of(run_of(A), sampled_run(B, ADAPTIVE))
    assert "n0=100, n up to 10000, alpha" in caption_of(sampled_run(A, ADAPTIVE), sampled_run(B, DECIDE, DECIDED))
    two = [sampled_run(A, ADAPTIVE), sampled_run(B, ADAPTIVE, n=2000)]
    assert "n0=100, adaptive: tolerance 2%, mean 901 draws per image, alpha" in caption_of(*two)
    assert "n0=100, alpha" in caption_of(run_of(A), sampled_run(B, ADAPTIVE, n=2000))


def test_labels_distinguish_sampling_methods_fixed_first():
    runs = [sampled_run(A, DECIDE, DECIDED), sampled_run(B, ADAPTIVE), run_of("f" * 16)]
    assert labels_of(*runs) == [
        "fixed, no denoiser",
        "adaptive 2%, no denoiser, mean 901 draws",
        "decide r=0.3, no denoiser, mean 901 draws",
    ]
    assert labels_of(sampled_run(A, ADAPTIVE, n=2000), run_of(B)) == [
        "fixed, n=10000, no denoiser",
        "adaptive 2%, n up to 2000, no denoiser, mean 901 draws",
    ]


def test_sampling_methods_alike_in_short_are_named_in_full():
    longer = ADAPTIVE.replace("100", "200")
    assert [label.split(", no")[0] for label in labels_of(sampled_run(A, ADAPTIVE), sampled_run(B, longer))] == [
        ADAPTIVE,
        longer,
    ]
    assert [label.split(", no")[0] for label in labels_of(run_of(A), sampled_run(B, "novel:x=1"))] == [
        "fixed",
        "novel:x=1",
    ]


def test_rows_older_than_the_column_are_those_of_fixed_sampling():
    assert caption_of(run_of(A)) == caption_of(run_of(A).assign(sampling="fixed"))
    old_and_new = [run_of(A).head(3), run_of(A).tail(5).assign(sampling="fixed")]
    assert list(describe_runs(pd.concat(old_and_new))["sampling"]) == ["fixed"]


UNKNOWN = {"n0": None, "n": None, "alpha": None, "split": None, "index_set": None, "images": None}
LOGGED = {**UNKNOWN, "denoiser": None, "objective": None, "source": "imported from sigma_0.25.tsv"}


def test_the_caption_says_what_is_unknown_and_that_radii_are_another_tools():
    assert caption_of(run_of(A, **LOGGED), run_of(B, **{**LOGGED, "sigma": 0.5})) == (
        "digits, split unknown, index set unknown, classifier digits_cnn, gaussian noise, l2 norm, n0 unknown, "
        "n unknown, alpha unknown: each certificate holds with probability at least 1 - alpha, "
        "imported radii as in their logs (possibly rounded up)"
    )
    some = caption_of(run_of(A, **LOGGED), run_of(B))
    assert some.startswith("digits, classifier digits_cnn, gaussian noise, l2 norm, sigma 0.25: each")
    assert "at least 1 - alpha (unknown for some), imported radii as in their logs" in some
    for source in ("recertified from abc", "imported from answers.jsonl"):  # radii that were computed here
        own = caption_of(run_of(A, **{**UNKNOWN, "source": source}))
        assert own.endswith("at least 1 - alpha")
    adaptive = caption_of(sampled_run(A, ADAPTIVE, n=None), run_of(B, n=None))
    assert "n0=100, n unknown, alpha=0.001" in adaptive


def test_labels_leave_out_what_is_unknown():
    runs = [
        run_of("a" * 16, **LOGGED),
        run_of("b" * 16, **{**LOGGED, "n": 5000}),
        run_of("c" * 16, **{**LOGGED, "objective": "mse"}),
        run_of("d" * 16, **{**LOGGED, "denoiser": "none"}),
        run_of("e" * 16, **DENOISED, source="recertified from abc"),
        run_of("f" * 16, **DENOISED),
    ]
    named = dict(zip(describe_runs(pd.concat(runs)).index.str[0], labels_of(*runs), strict=True))
    known = "test split, every 50th of 400 (8 images), n0=100, n=10000, alpha=0.001"
    assert named == {
        "a": "imported, denoiser unknown",
        "b": "imported, n=5000, denoiser unknown",
        "c": "imported, mse",
        "d": "imported, no denoiser",
        "e": f"recertified, {known}, STAB+MSE dncnn",
        "f": f"{known}, STAB+MSE dncnn",
    }


def test_an_unknown_number_makes_no_fraction_of_the_others():
    runs = describe_runs(pd.concat([run_of(A, **LOGGED), run_of(B)]))
    assert runs["n"].isna().to_dict() == {A: True, B: False}
    assert str(runs.loc[B, "n"]) == "10000"
    assert runs["images"].to_dict() == {A: 8, B: 8}
    assert runs["rows"].to_dict() == {A: 8, B: 8}
    assert runs["source"].isna().to_dict() == {A: False, B: True}


def test_a_run_from_two_sources_is_refused():
    halves = [run_of(A).head(3).assign(source="imported from a log"), run_of(A).tail(5).assign(source="another")]
    with pytest.raises(RaysmoothError, match="more than one source"):
        describe_runs(pd.concat(halves))


def test_an_alpha_of_many_digits_is_rounded_up():
    # 0.05 / 14 = 0.00357142857...; 0.001 / 3 = 0.000333333...
    promised = caption_of(run_of(A, alpha=0.05 / 14))
    assert "n=10000, alpha=0.00358: each certificate holds with probability at least 0.99642" in promised
    assert labels_of(run_of("a" * 16, alpha=0.001 / 3), run_of("b" * 16, alpha=0.001)) == [
        "alpha=0.000334, no denoiser",
        "alpha=0.001, no denoiser",
    ]
    assert shown_alpha(1e-7 / 3) == "3.34e-08"


def test_a_promise_is_never_rounded_up():
    for alpha, sure in ((0.001, "0.999"), (1e-9, "0.999999999"), (1e-12, "0.999999999999"), (8.34e-32, "1 - 8.34e-32")):
        assert shown_confidence(alpha) == sure
    words = str(caption(describe_runs(run_of(A, alpha=1e-30 / 8))))
    assert "with probability at least 1 - 1.25e-31, all those of a run at once with 1 - 1e-30" in words
