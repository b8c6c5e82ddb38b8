"""Messages of one line."""

import pytest

from raysmooth.common.errors import nearest, one_line


@pytest.mark.parametrize(
    ("error", "whole", "line"),
    [
        (ValueError("first\nsecond"), False, "first"),
        (ValueError("first\nsecond"), True, "first second"),
        ("\n\n  two   words\t\n", False, "two words"),
        (ValueError(""), False, "ValueError"),
        (KeyError(), True, "KeyError"),
        ("\x1b[31mred\x1b[0m\x07 text", False, "red text"),
        ("1: creation task failed\nTraceback:\n  line 3\nOSError: no space\n", False, "OSError: no space"),
        ("1: creation task failed\nOSError: no space", True, "1: creation task failed OSError: no space"),
    ],
)
def test_an_error_is_one_line(error: BaseException | str, whole: bool, line: str) -> None:
    assert one_line(error, whole) == line


def test_a_line_has_a_limit() -> None:
    assert one_line("x" * 301) == "x" * 300
    assert one_line("ab\ncd", whole=True, limit=4) == "ab c"


def test_the_last_line_of_a_traceback_names_the_exception() -> None:
    assert one_line("Traceback:\n  line 3\nOSError: no  space\n\n", last=True) == "OSError: no space"
    assert one_line(ValueError("\n"), last=True) == "ValueError"


@pytest.mark.parametrize(
    ("name", "known", "end"),
    [
        ("lenett", ["resnet", "lenet"], "did you mean 'lenet'? (known: lenet, resnet)"),
        ("RESNET", ["resnet", "lenet"], "did you mean 'resnet'? (known: lenet, resnet)"),
        ("zzz", ["resnet", "lenet"], "(known: lenet, resnet)"),
        ("resnet18", ["ResNet18"], "did you mean 'ResNet18'? (known: ResNet18)"),
    ],
)
def test_the_nearest_name_is_suggested(name: str, known: list[str], end: str) -> None:
    assert nearest(name, known) == end
