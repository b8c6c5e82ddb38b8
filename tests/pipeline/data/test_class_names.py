"""Names of classes of the data and of the classifier."""

import pytest

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.data.class_names import order_note, telling_names, with_class_names

DATA = {"class_names": {"0": "airplane", "1": "ship"}, "class_order": "name"}


def test_names_that_say_no_more_than_their_label() -> None:
    assert telling_names(("LABEL_0", "LABEL_1")) == telling_names(("0", "1")) == ()
    assert telling_names(("LABEL_0", "cat")) == ("LABEL_0", "cat")
    assert telling_names(("1", "10", "2")) == ("1", "10", "2")


def test_the_classifiers_names_are_taken_where_the_data_has_none() -> None:
    assert with_class_names(DATA, ("a", "b")) == DATA
    digits = {"class_names": {"0": "0", "1": "1"}}
    assert with_class_names(digits, ("zero", "one"))["class_names"] == {"0": "zero", "1": "one"}
    assert order_note(digits, ("zero", "one")) is None
    assert with_class_names({"class_names": {}}, ()) == {"class_names": {}}
    named = with_class_names({"class_names": {}}, ("a", "b"))
    assert named == {"class_names": {"0": "a", "1": "b"}, "class_names_from": "the classifier's files"}


@pytest.mark.parametrize("names", [("airplane", "ship"), ("Airplane", "boat, ship"), (), ("airplane", "ship", "cat")])
def test_names_that_agree_need_no_note(names: tuple[str, ...]) -> None:
    assert order_note(DATA, names) is None


def test_other_names_are_said() -> None:
    note = order_note(DATA, ("airplane", "boat"))
    assert note is not None
    assert note.startswith("label 1 is 'ship' in the data and 'boat' in the classifier: rows have the data's names; if")


def test_the_same_names_in_another_order_are_refused_unless_the_user_chose_it() -> None:
    with pytest.raises(RaysmoothError, match="both have the same classes, in another order: write --classes FILE"):
        order_note(DATA, ("ship", "airplane"))
    assert order_note({**DATA, "class_order": "--classes"}, ("ship", "airplane")) is not None
