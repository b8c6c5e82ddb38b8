"""Phases: their optimizers, learning rates worked out by hand, and how they are written."""

from math import sqrt

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raysmooth.common.errors import RaysmoothError
from raysmooth.tune.recipes.phases import OPTIMIZERS, SCHEDULES, Phase, parse_phases

torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("phase", "rates"),
    [
        (Phase(3, "sgd", 0.5), [0.5, 0.5, 0.5]),  # no step_size, no drop
        (Phase(6, "sgd", 1.0, 2), [1.0, 1.0, 0.1, 0.1, 0.01, 0.01]),
        (Phase(4, "sgd", 8.0, 1, 0.5), [8.0, 4.0, 2.0, 1.0]),
        # Drops after 1.5, 3 and 4.5 epochs: an epoch's rate is that of its beginning.
        (Phase(6, "sgd", 1.0, 1.5), [1.0, 1.0, 0.1, 0.01, 0.01, 0.001]),
        (Phase(2, "sgd", 1.0, 0.5), [1.0, 0.01]),
        # 31 / (30 * (93 / 90)) is a little less than 1: it drops where the exact numbers do.
        (Phase(93, "sgd", 1.0, 30 * (93 / 90)), [1.0] * 31 + [0.1] * 31 + [0.01] * 31),
        (Phase(4, "sgd", 2.0, schedule="cosine"), [2.0, 1 + sqrt(0.5), 1.0, 1 - sqrt(0.5)]),
        (Phase(1, "sgd", 2.0, schedule="cosine"), [2.0]),
        (Phase(3, "sgd", 0.3, 1, schedule="constant"), [0.3, 0.3, 0.3]),
    ],
)
def test_learning_rates_worked_out_by_hand(phase: Phase, rates: list[float]) -> None:
    assert [phase.rate(epoch) for epoch in range(phase.epochs)] == pytest.approx(rates)


def test_every_schedule_starts_at_the_learning_rate() -> None:
    assert set(SCHEDULES) == {"step", "cosine", "constant"}
    for schedule in SCHEDULES:
        assert Phase(5, "adam", 0.125, 2, schedule=schedule).rate(0) == 0.125


def test_optimizers_take_what_the_recipe_says() -> None:
    kinds = {
        "sgd": torch.optim.SGD, "nesterov": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW,
    }  # fmt: skip
    assert set(OPTIMIZERS) == set(kinds)
    for name, kind in kinds.items():
        optimizer = OPTIMIZERS[name]([torch.nn.Parameter(torch.zeros(1))], 0.3, 0.02, 0.7)
        assert type(optimizer) is kind
        assert (optimizer.defaults["lr"], optimizer.defaults["weight_decay"]) == (0.3, 0.02)
        assert optimizer.defaults.get("momentum") == (0.7 if kind is torch.optim.SGD else None)
        assert bool(optimizer.defaults.get("nesterov")) == (name == "nesterov")
        assert not optimizer.defaults.get("dampening")


def test_first_steps_worked_out_by_hand() -> None:
    """From 1 with gradient 2, rate 0.1, decay 0.5, momentum 0.5: decay adds 0.5 to the gradient, except AdamW's."""
    places = {}
    for name in OPTIMIZERS:
        weight = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
        optimizer = OPTIMIZERS[name]([weight], 0.1, 0.5, 0.5)
        weight.grad = torch.full_like(weight, 2.0)
        optimizer.step()
        places[name] = weight.item()
    assert places == pytest.approx(
        {"sgd": 1 - 0.1 * 2.5, "nesterov": 1 - 0.1 * 1.5 * 2.5, "adam": 1 - 0.1, "adamw": 1 - 0.1 * 0.5 - 0.1}
    )


def test_the_example_in_the_help_is_read() -> None:
    text = "adam:epochs=50,learning_rate=1e-3; sgd:epochs=550,learning_rate=1e-4,step_size=100"
    assert parse_phases(text) == (Phase(50, "adam", 1e-3), Phase(550, "sgd", 1e-4, 100))
    assert parse_phases("sgd:epochs=2,learning_rate=.5,gamma=0.2,schedule=cosine,step_size=0.5") == (
        Phase(2, "sgd", 0.5, 0.5, 0.2, "cosine"),
    )


numbers = st.floats(1e-9, 1e9)
phases = st.builds(
    Phase,
    st.integers(1, 10**6),
    st.sampled_from(sorted(OPTIMIZERS)),
    numbers,
    st.none() | numbers | st.integers(1, 1000),
    numbers,
    st.sampled_from(sorted(SCHEDULES)),
)


@given(st.lists(phases, min_size=1, max_size=4))
@settings(deadline=None)
def test_what_is_written_is_read_back(written: list[Phase]) -> None:
    texts = []
    for phase in written:
        values = {name: value for name, value in vars(phase).items() if name != "optimizer" and value is not None}
        texts.append(f"{phase.optimizer}:{','.join(f'{name}={value}' for name, value in values.items())}")
    assert parse_phases(" ; ".join(texts)) == tuple(written)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is not a valid phase: write NAME or NAME:option=value,option=value, each option once, such as adam:"),
        ("sgd:epochs=1,learning_rate=1;", "'' is not a valid phase: write NAME or NAME:option=value"),
        ("adam:epochs=5,learning_rate=", "'adam:epochs=5,learning_rate=' is not a valid phase"),
        (
            "adm:epochs=5,learning_rate=1",
            "phase 'adm:epochs=5,learning_rate=1': unknown optimizer 'adm': did you mean",
        ),
        (
            "sgd:epochs=5,learning_rate=1,schedule=cosin",
            "phase 'sgd:epochs=5,learning_rate=1,schedule=cosin': unknown schedule 'cosin': did you mean 'cosine'?",
        ),
        (
            "adam:epochs=5,lr=1",
            "phase 'adam' has no option 'lr': known: epochs, gamma, learning_rate, schedule",
        ),
        ("adam:epochs=5,learning_rate=1,optimizer=sgd", "phase 'adam' has no option 'optimizer'"),
        ("adam:epochs=5", "phase 'adam:epochs=5': option learning_rate is missing: write a number above 0"),
        ("adam", "phase 'adam': option epochs is missing: write a whole number above 0"),
        (
            "adam:epochs=1,learning_rate=1,schedule=3",
            "phase 'adam:epochs=1,learning_rate=1,schedule=3': unknown",
        ),
        ("adam:epochs=2.5,learning_rate=1", "option epochs=2.5: write a whole number"),
        ("adam:epochs=0,learning_rate=1", "option epochs=0: write a whole number above 0"),
        ("adam:epochs=5,learning_rate=-1", "option learning_rate=-1: write a number above 0"),
    ],
)
def test_what_is_not_a_phase_is_refused(text: str, message: str) -> None:
    """What the fields of a phase add to the refusals of all options (tests/common/test_options.py)."""
    with pytest.raises(RaysmoothError) as refused:
        parse_phases(text)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["epochs", "learning_rate", "step_size", "gamma"])
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_a_phase_that_cannot_step_is_refused(name: str, value: float) -> None:
    values = {"epochs": 1, "optimizer": "sgd", "learning_rate": 0.1, "step_size": 2, "gamma": 0.1} | {name: value}
    with pytest.raises(RaysmoothError, match=f"option {name}={value}: write a "):
        Phase(**values)


def test_unknown_names_are_refused_with_the_nearest() -> None:
    with pytest.raises(RaysmoothError, match=r"unknown optimizer 'nestorov': did you mean 'nesterov'\?"):
        Phase(1, "nestorov", 0.1)
    with pytest.raises(RaysmoothError, match=r"unknown schedule 'constnt': did you mean 'constant'\?"):
        Phase(1, "sgd", 0.1, schedule="constnt")
