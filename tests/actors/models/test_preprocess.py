import pytest
import torch

from raysmooth.actors.models.networks.normalize import Normalize
from raysmooth.actors.models.preprocess import PREPROCESS, parse_preprocess
from raysmooth.common.errors import RaysmoothError


def test_a_case_worked_by_hand() -> None:
    batch = torch.tensor([[[[0.5]], [[0.75]]]])
    # (0.5 - 0.25) / 0.5 and (0.75 - 1) / 0.125
    assert parse_preprocess("0.25,1/0.5,0.125")(batch).flatten().tolist() == [0.5, -2.0]


def test_the_published_constants() -> None:
    batch = torch.full((1, 3, 1, 1), 0.5)
    cifar = [(0.5 - m) / s for m, s in ((0.4914, 0.2023), (0.4822, 0.1994), (0.4465, 0.2010))]
    imagenet = [(0.5 - m) / s for m, s in ((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))]
    torch.testing.assert_close(parse_preprocess("cifar10")(batch).flatten(), torch.tensor(cifar))
    torch.testing.assert_close(parse_preprocess("imagenet")(batch).flatten(), torch.tensor(imagenet))
    assert torch.equal(parse_preprocess("none")(batch), batch)


def test_constants_may_all_be_fractions() -> None:
    batch = torch.rand(2, 3, 4, 4)
    written = parse_preprocess("123.675/255,116.28/255,103.53/255/58.395/255,57.12/255,57.375/255")
    torch.testing.assert_close(written(batch), parse_preprocess("imagenet")(batch))
    assert parse_preprocess("1/4/1/2")(torch.full((1, 1, 1, 1), 0.75)).item() == 1.0


def test_what_has_no_scale_and_what_stretches_is_taken() -> None:
    """The published constants of centred networks, and those that turn [0, 1] into [0, 255]."""
    for text in ("0.4914,0.4822,0.4465/1,1,1", "0/0.00392157", "1/1", "0/10"):
        parse_preprocess(text)


@pytest.mark.parametrize("name", PREPROCESS)
def test_has_no_tensors_of_its_own(name: str) -> None:
    assert not parse_preprocess(name).state_dict()


def test_constants_move_with_the_module() -> None:
    assert Normalize((0.5,), (0.5,)).to(torch.float64)(torch.ones(1, 1, 1, 1).double()).dtype == torch.float64


def test_another_number_of_channels_is_refused() -> None:
    with pytest.raises(RaysmoothError, match="constants for 3 channels, images have 1"):
        parse_preprocess("cifar10")(torch.rand(2, 1, 4, 4))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "cifar",
            r"unknown preprocess 'cifar': did you mean 'cifar10'\? \(known: cifar10, cifar10-centred, "
            r"efficientnet-lite, imagenet, none\)",
        ),
        ("0.5", "unknown preprocess '0.5'"),
        ("0.5,a/1,1", "is not two lists of numbers"),
        ("0.5/1/2", "is not two lists of numbers"),
        ("/", "is not two lists of numbers"),
        ("0.5,0.5/1", "2 means but 1 standard deviations"),
        ("0.5/0", "needs finite means and standard deviations above 0"),
        ("0.5,0.5/1,-1", "above 0"),
        ("nan/1", "needs finite"),
        (
            "123.675,116.28,103.53/58.395,57.12,57.375",
            r"is for pixels from 0 to 255, here they are in \[0, 1\]: write 0.485,0.456,0.406/0.229,0.224,0.225$",
        ),
        ("0/255", "write 0/1$"),
        ("103.939,116.779,123.68/1,1,1", "write 0.407604,0.457957,0.48502/0.00392157,0.00392157,0.00392157$"),
        ("33.3/0.31", "write 0.130588/0.31$"),
        ("1,2/3/4,5", "is not two lists of numbers"),  # 2 and 3/4, or 2/3 and 4
    ],
)
def test_refusals(text: str, message: str) -> None:
    with pytest.raises(RaysmoothError, match=message):
        parse_preprocess(text)
