"""Which images are certified, against a list comprehension and the papers' numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.data.index_set import IndexSet


def test_the_papers_500_images():
    index_set = IndexSet(10_000, skip=20)
    ids = list(index_set)
    assert (len(index_set), ids[:3], ids[-1]) == (500, [0, 20, 40], 9980)
    assert index_set.describe() == "every 20th of 10000 (500 images)"


@given(
    length=st.integers(1, 300),
    skip=st.integers(1, 400),
    limit=st.none() | st.integers(1, 400),
    start=st.integers(0, 299),
)
def test_agrees_with_a_list_comprehension(length, skip, limit, start):
    start %= length
    expected = [i for i in range(start, length) if (i - start) % skip == 0]
    expected = expected if limit is None else expected[:limit]
    index_set = IndexSet(length, skip, limit, start)
    assert list(index_set) == list(index_set.ids) == expected
    assert len(index_set) == len(expected)
    assert [i for i in range(length) if i in index_set] == expected


@pytest.mark.parametrize(
    ("index_set", "text"),
    [
        (IndexSet(10_000), "all 10000"),
        (IndexSet(10_000, max=10_000), "all 10000"),
        (IndexSet(10_000, skip=20, max=500), "every 20th of 10000 (500 images)"),
        (IndexSet(10_000, skip=20, max=100), "every 20th of 10000, 0 to 1980 (100 images)"),
        (IndexSet(10, max=3), "every image of 10, 0 to 2 (3 images)"),
        (IndexSet(10, skip=2), "every 2nd of 10 (5 images)"),
        (IndexSet(50, skip=11), "every 11th of 50 (5 images)"),
        (IndexSet(50, skip=23), "every 23rd of 50 (3 images)"),
        (IndexSet(50, skip=21, max=1), "every 21st of 50, 0 to 0 (1 image)"),
        (IndexSet(10_000, max=500, start=500), "every image of 10000, 500 to 999 (500 images)"),
        (IndexSet(10_000, skip=20, start=9_950), "every 20th of 10000, 9950 to 9990 (3 images)"),
        (IndexSet(10, start=0), "all 10"),
    ],
)
def test_describe(index_set, text):
    assert index_set.describe() == text


@pytest.mark.parametrize(
    ("arguments", "flag"),
    [
        ({"length": 10, "skip": 0}, "--skip 0"),
        ({"length": 10, "skip": -1}, "--skip -1"),
        ({"length": 10, "max": 0}, "--max 0"),
        ({"length": 0}, "--data-root"),
        ({"length": 10, "start": 10}, "--start 10: the data set has 10 images: write 0 to 9"),
        ({"length": 10, "start": -1}, "--start -1"),
    ],
)
def test_refuses_what_selects_nothing(arguments, flag):
    with pytest.raises(RaysmoothError, match=flag) as refusal:
        IndexSet(**arguments)
    assert "\n" not in str(refusal.value)


def test_is_a_value():
    assert IndexSet(10, 2) == IndexSet(10, 2)
    assert hash(IndexSet(10, 2)) == hash(IndexSet(10, 2))
    assert len(IndexSet(10**12, 20)) == 5 * 10**10  # a range: nothing is listed
