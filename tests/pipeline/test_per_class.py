import numpy as np
import pandas as pd
import pytest
from certificate_rows import DECIDE, DECIDED, PLAIN, A, B, run_of, sampled_run

from actors.refusal import Refusal
from pipeline.confidence import accuracy_intervals
from pipeline.metrics import abstention_rate, average_certified_radius, certified_accuracy
from pipeline.per_class import accuracy_per_class, classes

LABELS = [1, 1, 1, 7, 7, 7, 1, None]  # of PLAIN's images, whose predictions are 1 1 1 1 2 -1 -1 and an error


def rows() -> pd.DataFrame:
    frame = run_of(A, PLAIN).assign(label=LABELS)
    right = [prediction == label for (prediction, _), label in zip(PLAIN, LABELS, strict=True)]
    return frame.assign(correct=right)


def test_by_hand() -> None:
    table = accuracy_per_class(rows(), [0, 0.5])
    assert list(table["label"].astype(object).where(table["label"].notna(), None)) == [1, 1, 7, 7, None, None]
    assert list(table["radius"]) == [0, 0.5] * 3
    assert list(table["images"]) == [4, 4, 3, 3, 1, 1]
    assert list(table["certified"]) == [3, 2, 0, 0, 0, 0]
    assert list(table["share"]) == [3 / 4, 2 / 4, 0, 0, 0, 0]
    by_class = classes(rows())
    assert list(by_class["images"]) == [4, 3, 1]
    assert by_class["ACR"][0] == pytest.approx((0.5 + 0.25 + 0.8) / 4)
    assert list(by_class["abstain"]) == [1 / 4, 1 / 3, 0]


def test_classes_weighted_by_their_images_are_the_whole() -> None:
    radii = [0, 0.1, 0.3, 0.8]
    table = accuracy_per_class(rows(), radii)
    whole = (table["share"] * table["images"]).groupby(table["radius"]).sum() / 8
    np.testing.assert_allclose(whole, certified_accuracy(rows(), radii))
    by_class = classes(rows())
    assert (by_class["ACR"] * by_class["images"]).sum() / 8 == pytest.approx(average_certified_radius(rows()))


def test_each_class_has_the_interval_of_its_own_images() -> None:
    own = rows()[lambda frame: frame["label"] == 1]
    pd.testing.assert_frame_equal(
        accuracy_per_class(rows(), [0, 0.5], 0.2, "wilson").head(2).drop(columns="label"),
        accuracy_intervals(own, [0, 0.5], 0.2, "wilson"),
    )


def test_each_class_has_the_metrics_of_its_own_images() -> None:
    for label, own in rows().groupby("label"):
        row = classes(rows()).set_index("label").loc[label]
        assert row["ACR"] == average_certified_radius(own)
        assert row["abstain"] == abstention_rate(own)


def test_a_run_that_decides_one_radius() -> None:
    decided = sampled_run(A, DECIDE, DECIDED)
    table = accuracy_per_class(decided, [0.3, 0.4])
    assert table["certified"][0] == 3
    assert table.loc[1, ["certified", "share", "low", "high"]].isna().all()
    assert classes(decided)[["ACR", "abstain"]].isna().all(axis=None)


def test_refusals() -> None:
    with pytest.raises(Refusal, match=f"run {A} has no labels, hence no classes"):
        classes(run_of(A, label=None))
    with pytest.raises(Refusal, match="more than one run_id"):
        accuracy_per_class(pd.concat([run_of(A), run_of(B)]), [0])
    with pytest.raises(Refusal, match="no certificate rows"):
        classes(rows().head(0))


def test_a_finished_image_without_a_label_counts_as_wrong() -> None:
    frame = rows().assign(label=[None, *LABELS[1:]], correct=[None, *rows()["correct"][1:]])
    table = accuracy_per_class(frame, [0])
    assert list(table["images"]) == [3, 3, 2]
    assert list(table["certified"]) == [2, 0, 0]
