"""The page opens with a sentence that the rows support, and says what its words mean."""

import pandas as pd
import pytest
from certificate_rows import BETTER, DECIDE, DECIDED, DENOISED, A, B, run_of, sampled_run

from raysmooth.pipeline.report.page.headline import Headline, headline
from raysmooth.pipeline.report.page.opening import opening
from raysmooth.pipeline.report.report_data import ReportData


def both(*runs, shape=None, **options):
    data = ReportData(pd.concat(runs, ignore_index=True), **options)
    head = headline(data)
    return head, opening(data, head, shape)


def test_the_best_run_at_the_smallest_positive_radius():
    head, opened = both(run_of(A), run_of(B, BETTER, **DENOISED), shape=[1, 8, 8])
    # Of the better run 0.6, 0.3, 0.8, 0.75 and 0.3 reach 0.25, of the other 0.5, 0.25 and 0.8.
    assert head == Headline(B, 0.25, 5, 8, [(3, 8)], 0)
    assert opened.sentence == (
        "Of 8 digits images, 5 (62.5 %) provably cannot be misread because of any change of at most ℓ₂ 0.25."
    )
    assert opened.terms["The images"].startswith("Data: digits, test split, every 50th of 400 (8 images).")
    assert "best of 2 at this radius; of the images of the others, 37.5 % are certified" in opened.terms["The images"]
    assert "digits_cnn (STAB+MSE denoiser)" in opened.terms["The classifier"]
    assert "gaussian noise of sigma 0.25" in opened.terms["The classifier"]
    assert opened.terms["The certainty"].startswith("Each certificate holds with probability at least 0.999")


def test_the_image_is_the_lower_median_of_those_certified():
    # Radii 0.3 (images 50 and 350), 0.6, 0.75 and 0.8: the third is image 0.
    assert both(run_of(B, BETTER))[0].image_id == 0
    four = [(1, 0.3), (1, 0.5), (1, 0.5), (1, 0.9), *[(-1, 0.0)] * 4]
    assert both(run_of(A, four))[0].image_id == 50  # the second of four, and the first of two with 0.5


def test_numbers_of_a_change_are_rounded_down():
    change = both(run_of(A), shape=[3, 32, 32])[1].terms["The change"]
    # 0.25 * 255 = 63.75, and over the root of 3,072 it is 1.1502.
    assert "one value of one pixel changed by 0.25 (63.7 of 255 levels)" in change
    assert "all 3,072 values changed by 1.1 levels each" in change
    whole = both(run_of(A, images=8), shape=[1, 1, 1], radii=[1.0])[1].terms["The change"]
    assert "all 1 values changed by 254.9 levels each" in whole  # never above what is certified
    large = both(run_of(A, [(1, 3.0)] * 8), radii=[2.0])[1].terms["The change"]
    assert "one value of one pixel" not in large
    for norm, words in (("l1", "the sum of the changes"), ("linf", "the largest change of any value, here 0.25")):
        assert words in both(run_of(A, norm=norm), radii=[0.25])[1].terms["The change"]


def test_without_labels_nothing_is_said_of_right_classes():
    _, opened = both(run_of(A, label=None))
    assert opened.sentence == (
        "Of 8 digits images, 4 (50.0 %) provably keep their predicted class under any change of at most ℓ₂ 0.25."
    )
    assert "They have no labels" in opened.terms["The images"]


def test_a_run_that_certifies_nothing_has_no_image():
    head, opened = both(run_of(A, [(-1, 0.0)] * 8))
    assert (head.certified, head.image_id) == (0, None)
    assert opened.sentence == "Of 8 digits images, none is shown to be safe from any change of at most ℓ₂ 0.25."


def test_a_decision_speaks_of_its_radius_alone():
    head, _ = both(sampled_run(A, DECIDE, DECIDED))
    assert (head.radius, head.certified, head.images) == (0.3, 3, 8)
    head, _ = both(sampled_run(A, DECIDE, DECIDED), run_of(B), radii=[0.2, 0.3])
    assert (head.run_id, head.radius, head.others) == (B, 0.2, [])


def test_unfinished_runs_come_second_and_say_so():
    first = run_of(A, [(1, 0.9)] * 3)
    assert both(first, run_of(B, sigma=0.5))[0].run_id == B
    assert both(first)[1].sentence.startswith("Of 3 digits images finished so far, 3 (100.0 %) provably")


def test_a_log_proves_nothing_to_us():
    unknown = {"source": "imported from log.tsv", "alpha": None, "noise": None, "classifier": None, "denoiser": None}
    _, opened = both(run_of(A, **unknown))
    assert "3 (37.5 %) are logged as certified: they cannot be misread" in opened.sentence
    assert "1 - alpha" in opened.terms["The certainty"]
    assert opened.terms["The classifier"].startswith("An unknown network")


@pytest.mark.parametrize("radii", [[0.0], [0.0, 0.5]])
def test_radius_zero_alone_is_no_result(radii):
    head, _ = both(run_of(A), radii=radii)
    assert head.radius == (0.5 if 0.5 in radii else 0.25)


def test_failed_images_are_said():
    _, opened = both(run_of(A, [(1, 0.5), (1, 0.3), *[(None, None)] * 6]))
    assert opened.sentence.startswith("Of 8 digits images, 2 (25.0 %) provably")
    assert "6 of these 8 failed, and count as not certified." in opened.terms["The images"]
