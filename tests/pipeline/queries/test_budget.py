"""The budget is never exceeded, whatever order queries are reserved, sent, answered, released and killed in."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from logged_queries import IDENTITY, OTHER_IDENTITY, answered, key, log_in

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.queries.budget import Budget
from raysmooth.pipeline.queries.charges import Charges
from raysmooth.pipeline.queries.logged_answer import billionths
from raysmooth.pipeline.queries.query_folder import QueryFolder, all_charges

NAMES = ("reserve", "charge", "release")


def test_dollars_and_queries_limit_what_can_be_reserved() -> None:
    budget = Budget(Charges(10, 2, 18_000_000), price=0.0015, dollars=0.03)
    assert (budget.left, budget.dollars_left) == (8, 0.012)
    assert budget.reserve(5) == 5
    assert budget.left == 3
    budget.charge(2)
    assert budget.spent == Charges(12, 2, 21_000_000)
    budget.release(1)
    assert (budget.reserved, budget.left) == (2, 4)
    assert budget.reserve(100) == 4
    assert budget.reserve(1) == 0
    assert Budget(Charges(10, 2, 0), max_queries=13).reserve(5) == 1
    assert Budget(Charges(10, 2, 0), max_queries=3).left == 0
    assert Budget(Charges(), 0.001, dollars=1, max_queries=7).left == 7
    assert Budget(Charges(), 0.5, dollars=1, max_queries=7).left == 2


def test_without_a_limit_everything_is_granted_and_counted() -> None:
    budget = Budget(Charges(), price=0.001)
    assert budget.left is None
    assert budget.dollars_left is None
    assert budget.reserve(10**9) == 10**9
    budget.charge(3)
    assert budget.spent.dollars == 0.003


def test_prices_are_never_rounded_down() -> None:
    assert billionths(0.0015) == 1_500_000
    assert billionths(1e-9) == 1
    assert billionths(0.33e-9) == 1
    assert billionths(0) == 0
    assert Budget(Charges(), 0.1, dollars=0.3).left == 3
    assert Budget(Charges(), 0.1, dollars=0.29999).left == 2


def test_a_limit_in_dollars_needs_a_price() -> None:
    with pytest.raises(RaysmoothError, match=r"--budget needs the price of a query: write --price-per-1000"):
        Budget(Charges(), dollars=1)


@pytest.mark.parametrize("take", [Budget.charge, Budget.release])
def test_more_than_is_reserved_is_a_mistake(take: object) -> None:
    budget = Budget(Charges())
    budget.reserve(2)
    assert callable(take)
    for queries in (3, -1):
        with pytest.raises(ValueError, match="of 2 that are reserved"):
            take(budget, queries)


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.integers(0, 9)), max_size=40), st.integers(1, 30))
def test_no_order_exceeds_it(steps: list[tuple[str, int]], most: int) -> None:
    budget = Budget(Charges(), price=0.001, dollars=most / 1000)
    for name, queries in steps:
        if name == "reserve":
            assert 0 <= budget.reserve(queries) <= queries
        else:
            getattr(budget, name)(min(queries, budget.reserved))
        assert budget.spent.queries + budget.reserved <= most
        assert budget.left == most - budget.spent.queries - budget.reserved


@settings(max_examples=25)
@given(st.lists(st.sampled_from(["send", "answer", "throttled", "again", "kill", "close"]), max_size=30))
def test_kills_do_not_stretch_it(tmp_path_factory: pytest.TempPathFactory, steps: list[str]) -> None:
    """The bill, as an API would write it, against a driver that is killed and begins again with what the log says."""
    out, most, price = tmp_path_factory.mktemp("out"), 6, 0.001
    log = log_in(out)
    budget = Budget(all_charges(out), price, dollars=most * price)
    billed, asked, flying = 0, 0, list[int]()
    for step in steps:
        if step in ("kill", "close"):
            if step == "close":
                log.close()
            log = log_in(out)
            budget = Budget(log.charges, price, dollars=most * price)
            flying.clear()
        elif step == "send" and budget.reserve(1):
            log.intend([key(0, asked)], budget.price)
            log.commit()
            billed, flying, asked = billed + 1, [*flying, asked], asked + 1
        elif step == "answer" and flying:
            log.add(answered(key(0, flying.pop(0))), budget.price)
            log.commit()
            budget.charge(1)
        elif step == "throttled" and flying:
            log.abandon([key(0, flying.pop())])
            billed -= 1
            budget.release(1)
        elif step == "again" and flying and budget.reserve(1):
            budget.charge(1)
            log.intend([key(0, flying[0])], budget.price)
            log.commit()
            billed += 1
        assert billed <= most
        assert billed <= log.charges.queries <= most
        assert log.charges.queries == budget.spent.queries + budget.reserved
    log.close()
    assert billed <= all_charges(out).queries <= most


def test_all_identities_count_together(tmp_path: Path) -> None:
    with QueryFolder(tmp_path) as queries:
        for identity in (IDENTITY, OTHER_IDENTITY):
            log = queries.log(identity)
            assert queries.log(identity) is log
            log.intend([key(0, draw) for draw in range(3)], 1000)
            log.add(answered(key(0, 0)), 1000)
        assert queries.charges() == Charges(2, 4, 6000)
        queries.commit()
        assert all_charges(tmp_path) == Charges(2, 4, 6000)
    with QueryFolder(tmp_path) as queries:
        assert queries.charges() == Charges(2, 4, 6000)
