import pandas as pd
import pytest
from certificate_rows import PLAIN, A, B, run_of

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.analysis.per_class import count_per_class

LABELS = [1, 1, 1, 7, 7, 7, 1, None]  # of PLAIN's images, whose predictions are 1 1 1 1 2 -1 -1 and an error


def rows() -> pd.DataFrame:
    frame = run_of(A, PLAIN).assign(label=LABELS)
    right = [prediction == label for (prediction, _), label in zip(PLAIN, LABELS, strict=True)]
    return frame.assign(correct=right)


def test_by_hand() -> None:
    labels, images, certified = count_per_class(rows(), [0, 0.5])
    assert [None if pd.isna(label) else int(label) for label in labels] == [1, 7, None]
    assert images.tolist() == [4, 3, 1]
    assert certified.tolist() == [[3, 2], [0, 0], [0, 0]]


def test_a_finished_image_without_a_label_counts_as_wrong() -> None:
    frame = rows().assign(label=[None, *LABELS[1:]], correct=[None, *rows()["correct"][1:]])
    _, images, certified = count_per_class(frame, [0])
    assert images.tolist() == [3, 3, 2]
    assert certified.tolist() == [[2], [0], [0]]


def test_refusals() -> None:
    with pytest.raises(RaysmoothError, match=f"run {A} has no labels, which define the classes"):
        count_per_class(run_of(A, label=None), [0])
    with pytest.raises(RaysmoothError, match="more than one run_id"):
        count_per_class(pd.concat([run_of(A), run_of(B)]), [0])
    with pytest.raises(RaysmoothError, match="no certificate rows"):
        count_per_class(rows().head(0), [0])
