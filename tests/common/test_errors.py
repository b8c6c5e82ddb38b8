"""Messages of one line."""

import pickle

import pytest

from raysmooth.common.errors import RaysmoothError, counted, nearest, one_line, printable


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
        ("zzz", ["resnet", "lenet"], "known: lenet, resnet"),
        ("resnet18", ["ResNet18"], "did you mean 'ResNet18'? (known: ResNet18)"),
    ],
)
def test_the_nearest_name_is_suggested(name: str, known: list[str], end: str) -> None:
    assert nearest(name, known) == end


def test_a_refusal_is_one_printable_line() -> None:
    """Whatever is quoted in it: messages quote files and command lines."""
    assert str(RaysmoothError("a\nb\x1b[31m\u202e\x00")) == r"a\nb\x1b[31m\u202e\x00"
    assert str(RaysmoothError("caf\xe9, caf\udce9, \ud800")) == r"café, caf\xe9, \ud800"
    path = f"/{'a' * 300}/file.png"
    assert str(RaysmoothError(f"{path} is missing")) == f"/{'a' * 99}...{'a' * 88}/file.png is missing"
    assert str(RaysmoothError("ab " * 400)) == f"{'ab ' * 166}ab...{('ab ' * 400)[-497:]}"
    assert str(pickle.loads(pickle.dumps(RaysmoothError("a\nb")))) == r"a\nb"  # from another process
    assert [len(str(RaysmoothError(text))) for text in ("x" * 220, "x" * 221, "x y" * 1000)] == [220, 200, 1000]


def test_printable_text_is_short_and_has_no_control_characters() -> None:
    assert printable("caf\udce9 caf\udcc3\udca9\n\ud800") == r"caf\xe9 café\n\ud800"
    assert printable("x" * 201) == f"{'x' * 197}..."


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [(1, "class", "1 class"), (0, "class", "0 classes"), (2, "image", "2 images"), (1200, "class", "1,200 classes")],
)
def test_numbers_with_their_nouns(number: int, noun: str, text: str) -> None:
    assert counted(number, noun) == text
