"""Losses worked by hand: images of one pixel, a classifier with logits (x, 0), a denoiser that doubles."""

from math import exp, log

import numpy as np
import pytest
import torch
from scripted import Linear, Scale, ScriptedNoise

from raysmooth.common.errors import RaysmoothError
from raysmooth.tune.objectives.objective import Observed, describe, parse_objective
from raysmooth.tune.objectives.rejector_objectives import REJECTOR_OBJECTIVES, Disagreement, Wrong
from raysmooth.tune.objectives.training_noise import TrainingNoise

IMAGES = torch.tensor([1.0, -2.0]).view(2, 1, 1, 1)  # the classifier says 0 and 1
LABELS = torch.tensor([1, 1])
DRAWS = (0.5, -1.5)
# Denoised: 3 and -3 at the first draw, -1 and -7 at the second; their classes are 0, 1, 1, 1.


class Frozen:
    """Its denoiser and classifier, with the denoised pixels as the only features."""

    def __init__(self) -> None:
        self.denoiser = Scale(2.0).requires_grad_(False)
        self.classifier = Linear(np.array([[1.0], [0.0]])).requires_grad_(False)
        self.passes: list[torch.Tensor] = []

    def classify(self, images: torch.Tensor) -> torch.Tensor:
        return self.classifier(images).argmax(dim=1)

    def observe(self, noisy: torch.Tensor) -> Observed:
        self.passes.append(noisy)
        denoised = self.denoiser(noisy)
        return Observed(denoised, self.classifier(denoised), [denoised])


class Heads(torch.nn.Module):
    """Head k: weight[k] x + bias[k] + the first feature / 2."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([0.5, -0.25]))
        self.bias = torch.nn.Parameter(torch.tensor([1.0, 2.0]))

    def forward(self, denoised: torch.Tensor, features: list[torch.Tensor]) -> torch.Tensor:
        return denoised.flatten(1) * self.weight + self.bias + features[0].flatten(1) / 2


def loss_of(text: str, rejector: torch.nn.Module, frozen: Frozen | None = None, *draws: float) -> torch.Tensor:
    _, _, objective = parse_objective(text, REJECTOR_OBJECTIVES)
    return objective(rejector, frozen or Frozen(), IMAGES, LABELS, ScriptedNoise(np.array(draws or DRAWS)))


def bce(logit: float, target: int) -> float:
    return log(1 + exp(-logit)) if target else log(1 + exp(logit))


HEAD = [[0.5 * x + 1 + x / 2, -0.25 * x + 2 + x / 2] for x in (3.0, -3.0, -1.0, -7.0)]
"""Logits of the two heads, draw by draw."""


@pytest.mark.parametrize(
    ("text", "heads", "targets"),
    [
        ("disagreement:T=2", (0, 1, 1, 1), (0, 0, 1, 0)),
        ("disagreement:T=2,head=clean", (0, 1, 0, 1), (0, 0, 1, 0)),
        ("wrong:T=2,head=noisy", (0, 1, 1, 1), (1, 0, 0, 0)),
        ("wrong:T=2,head=clean", (0, 1, 0, 1), (1, 0, 0, 0)),
    ],
)
def test_losses(text: str, heads: tuple[int, ...], targets: tuple[int, ...]) -> None:
    expected = [bce(logits[head], target) for logits, head, target in zip(HEAD, heads, targets, strict=True)]
    assert loss_of(text, Heads()).item() == pytest.approx(sum(expected) / 4, rel=1e-6)


@pytest.mark.parametrize(("head", "learns"), [("clean", 0), ("noisy", 1)])
def test_the_head_that_learns_is_the_stated_one(head: str, learns: int) -> None:
    """One image of class 0, whose only draw has class 1."""
    rejector = Heads()
    objective = Disagreement(T=1, head=head)
    objective(rejector, Frozen(), IMAGES[:1], LABELS[:1], ScriptedNoise(np.array([-1.5]))).backward()
    assert rejector.bias.grad is not None
    assert rejector.bias.grad.nonzero().tolist() == [[learns]]
    # The target is 1: the slope of the loss is sigmoid - 1.
    assert rejector.bias.grad[learns].item() == pytest.approx(1 / (1 + exp(-HEAD[2][learns])) - 1, rel=1e-5)


@pytest.mark.parametrize("text", ["disagreement:T=2", "wrong:T=2,head=clean"])
def test_gradients_reach_the_rejector_alone(text: str) -> None:
    """Not even those of a denoiser and a classifier whose parameters ask for them."""
    frozen, rejector = Frozen(), Heads()
    frozen.denoiser.requires_grad_()
    frozen.classifier.requires_grad_()
    loss_of(text, rejector, frozen).backward()
    assert rejector.weight.grad is not None
    assert bool((rejector.weight.grad != 0).all())
    assert frozen.denoiser.weight.grad is None
    assert frozen.classifier.weight.grad is None


def test_all_draws_of_an_image_share_a_forward_pass() -> None:
    frozen = Frozen()
    loss_of("disagreement:T=3", Heads(), frozen, 0.5, -1.5, 0.25)
    assert [len(noisy) for noisy in frozen.passes] == [3 * len(IMAGES)]


@pytest.mark.parametrize("objective", [Disagreement(T=3), Wrong(T=3)])
def test_several_workers_observe_the_noisy_images_that_one_would(objective: Disagreement | Wrong) -> None:
    images, labels = torch.rand(5, 1, 1, 1), torch.zeros(5, dtype=torch.int64)
    parts = []
    for local in (slice(0, 5), slice(0, 2), slice(2, 5)):
        frozen = Frozen()
        noise = TrainingNoise("gaussian", 0.5, torch.device("cpu"))
        noise.begin(7, 5, local)
        objective(Heads(), frozen, images[local], labels[local], noise)
        parts.append(frozen.passes[0].unflatten(0, (3, -1)))
    whole, *shares = parts
    assert torch.equal(torch.cat(shares, dim=1), whole)
    assert len({float(draw) for draw in whole[:, 0, 0, 0, 0]}) == 3


def test_the_defaults() -> None:
    assert describe(Disagreement()) == describe(Wrong()) == {"T": 20, "head": "noisy"}
    assert {name: entry.build.needs_labels for name, entry in REJECTOR_OBJECTIVES.items()} == {
        "disagreement": False,
        "wrong": True,
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("disagreemnt", "unknown rejector objective 'disagreemnt': did you mean 'disagreement'?"),
        ("disagreement:T=0", "option T=0: write a whole number above 0"),
        ("disagreement:t=4", "'disagreement' has no option 't': did you mean 'T'?"),
        ("wrong:head=both", "unknown head 'both': known: clean, noisy"),
    ],
)
def test_refusals_are_one_line_and_say_what_to_write(text: str, message: str) -> None:
    with pytest.raises(RaysmoothError) as refusal:
        parse_objective(text, REJECTOR_OBJECTIVES)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)
