"""Hashes of settings: those that `sha256sum` prints for their JSON."""

import pytest

from raysmooth.common.hashing import settings_hash


def test_hashes_are_those_of_the_json_with_sorted_keys() -> None:
    # printf '{"a": 1, "b": [0.25, null]}' | sha256sum
    expected = "a6ba4846e6ca638552ccf7bf21eb6388a18a7b44fba211a158e3521c35211d5c"
    assert settings_hash({"a": 1, "b": [0.25, None]}) == expected
    assert settings_hash({"b": (0.25, None), "a": 1}) == expected
    assert settings_hash(["x", 2]) == "79aec0938c6c3183218bd7d822f40656d9ab6a5a8e700f4a92f85fbdafb8c9da"


def test_other_settings_have_other_hashes() -> None:
    hashes = [settings_hash(values) for values in ({"a": 1}, {"a": 1.0}, {"a": "1"}, {"a": True}, {"b": 1}, ["a", 1])]
    assert len(set(hashes)) == len(hashes)


def test_a_value_that_json_cannot_represent_is_an_error() -> None:
    with pytest.raises(TypeError):
        settings_hash({"a": object()})
