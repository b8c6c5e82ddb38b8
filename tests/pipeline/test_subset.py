import pandas as pd
import pytest
from certificate_rows import A, B, run_of

from actors.refusal import Refusal
from pipeline.index_set import IndexSet
from pipeline.subset import is_subset, sample_words

WHOLE = run_of(A, index_set=IndexSet(8).describe())
LIKE = "intervals are for images like these"


@pytest.mark.parametrize(
    ("rows", "subset", "words"),
    [
        (WHOLE, False, f"digits, test split: all 8; {LIKE}"),
        (WHOLE.head(5), True, f"a subset of digits, test split: all 8, 5 of them so far; {LIKE}"),
        (run_of(A), True, f"a subset of digits, test split: every 50th of 400 (8 images); {LIKE}"),
        (
            run_of(A, index_set=IndexSet(400, max=8).describe()).head(3),
            True,
            f"a subset of digits, test split: every image of 400, 0 to 7 (8 images), 3 of them so far; {LIKE}",
        ),
        (
            run_of(A, dataset="cifar10", split=None, index_set=None, images=None),
            False,
            f"cifar10: 8 images, unknown which; {LIKE}",
        ),
    ],
)
def test_words(rows: pd.DataFrame, subset: bool, words: str) -> None:
    assert is_subset(rows) == subset
    assert sample_words(rows) == words


def test_refusals() -> None:
    with pytest.raises(Refusal, match="no certificate rows"):
        sample_words(WHOLE.head(0))
    with pytest.raises(Refusal, match="more than one run_id"):
        sample_words(pd.concat([run_of(A), run_of(B)]))
