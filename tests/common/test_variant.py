"""Names of networks with their options."""

import pytest

from raysmooth.common.errors import RaysmoothError
from raysmooth.common.variant import Variant


@pytest.mark.parametrize(
    ("text", "name", "options", "canonical"),
    [
        ("lenet", "lenet", (), "lenet"),
        (" lenet ", "lenet", (), "lenet"),
        ("dncnn:width=32,depth=7", "dncnn", (("depth", 7), ("width", 32)), "dncnn:depth=7,width=32"),
        ("net:a=1.5,b=True,c=relu,d=-2", "net", (("a", 1.5), ("b", True), ("c", "relu"), ("d", -2)), None),
        ("net:lr=1e-3", "net", (("lr", 0.001),), "net:lr=0.001"),
        (
            "net:name=nan,version=1_0",
            "net",
            (("name", "nan"), ("version", "1_0")),
            "net:name=nan,version=1_0",
        ),
        ("my.module:make", "my.module:make", (), "my.module:make"),
        ("my.module:Api.make", "my.module:Api.make", (), "my.module:Api.make"),
        ("my:make:num_classes=10", "my:make", (("num_classes", 10),), "my:make:num_classes=10"),
        ("my:make:url=http://host:80/?a=b", "my:make", (("url", "http://host:80/?a=b"),), None),
    ],
)
def test_reads_and_writes_back(text: str, name: str, options: tuple, canonical: str | None) -> None:
    architecture = Variant.parse(text)
    assert (architecture.name, architecture.options) == (name, options)
    assert [type(value) for _, value in architecture.options] == [type(value) for _, value in options]
    assert Variant.parse(str(architecture)) == architecture
    assert canonical is None or str(architecture) == canonical


@pytest.mark.parametrize(
    "text",
    ["", ":", "dncnn:", "dncnn:depth=", "dncnn:=3", "dncnn:depth=3,", "dncnn:depth=3,depth=4", "depth=3",
     "a b", "dncnn,depth=7", "my/models.py:make", "my:make:", "my:make:10", "my::depth=3",
     f"dncnn:depth={'9' * 5000}"],
)  # fmt: skip
def test_refuses_malformed_text(text: str) -> None:
    with pytest.raises(RaysmoothError) as refusal:
        Variant.parse(text)
    assert "\n" not in str(refusal.value)
    assert "write" in str(refusal.value)


def test_equal_whatever_the_order_of_the_options() -> None:
    assert hash(Variant.parse("n:b=1,a=2")) == hash(Variant.parse("n:a=2,b=1"))


def test_build_hands_over_the_options() -> None:
    assert Variant.parse("n:a=2,b=x").build(lambda a, b="y": (a, b), "thing") == (2, "x")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("n:c=1", "thing 'n' has no option 'c': options are a, b"),
        ("n:a=x", "thing 'n:a=x' cannot be built: "),
        ("n", "missing 1 required positional argument: 'a' (options: a, b)"),
    ],
)
def test_build_refuses_in_one_line(text: str, message: str) -> None:
    def factory(a: int, b: int = 1) -> int:
        return a / b - 1

    with pytest.raises(RaysmoothError) as refusal:
        Variant.parse(text).build(factory, "thing")
    assert message in str(refusal.value)
