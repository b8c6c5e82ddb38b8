"""A registry is a mapping that refuses unknown names with the nearest known one."""

import pytest

from raysmooth.common.errors import RaysmoothError
from raysmooth.common.registry import Registry

PRICES: Registry[int] = Registry("fruit", {"pear": 3, "apple": 0})


def test_it_is_a_mapping_in_the_order_of_its_entries() -> None:
    assert list(PRICES.items()) == [("pear", 3), ("apple", 0)]
    assert len(PRICES) == 2
    assert "apple" in PRICES
    assert "plum" not in PRICES
    assert 3 not in PRICES


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(RaysmoothError) as refusal:
        PRICES["aple"]
    assert str(refusal.value) == "unknown fruit 'aple': did you mean 'apple'? (known: apple, pear)"
    with pytest.raises(RaysmoothError, match=r"^unknown fruit 'zzz': known: apple, pear$"):
        PRICES.get("zzz")


def test_it_does_not_change_with_the_mapping_it_was_made_of() -> None:
    entries = {"pear": 3}
    registry = Registry("fruit", entries)
    entries["apple"] = 1
    assert dict(registry) == {"pear": 3}
