"""Searches of noise levels by name: options, canonical texts, refusals."""

import pytest

from raysmooth.actors.sigma_search.search_options import GRADIENTS, Bounded, Ddrs, Selector
from raysmooth.actors.sigma_search.searches import SEARCHES, read_search, rule_of
from raysmooth.common.errors import RaysmoothError


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("ddrs", "ddrs:anchor=off,clamp=0.02,draws=1,gradient=backward,learning_rate=0.0001,steps=900"),
        (
            "ddrs:steps=400,learning_rate=1e-3,most=2,anchor=on,gradient=forward",
            "ddrs:anchor=on,clamp=0.02,draws=1,gradient=forward,learning_rate=0.001,most=2.0,steps=400",
        ),
        ("grid:least=0.1", "grid:clamp=0.02,draws=20,least=0.1,levels=10"),
        ("selector", "selector:alpha=0.001,bins=0.6+0.9,levels=0.25+0.5+1,n=10000,n0=100"),
        ("selector:levels=.25+1/2,bins=0.60,n=50", "selector:alpha=0.001,bins=0.6,levels=0.25+0.5,n=50,n0=100"),
    ],
)
def test_a_canonical_text_has_all_options_and_reads_as_itself(text: str, canonical: str) -> None:
    written, _ = read_search(text)
    assert str(written) == canonical
    assert read_search(canonical)[0] == written


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("dddrs", "unknown search 'dddrs': did you mean 'ddrs'"),
        ("ddrs:step=3", "search 'ddrs' has no option 'step'"),
        ("ddrs:steps=0", "option steps=0: write a whole number"),
        ("ddrs:anchor=maybe", "option anchor=maybe: write on or off"),
        ("ddrs:gradient=backwards", "unknown gradient 'backwards'"),
        ("grid:clamp=0.5", "option clamp=0.5: write a number above 0 below 0.5"),
        ("selector:levels=0.25", "option levels=0.25: write two or more different levels above 0"),
        ("selector:levels=0.25+nan,bins=0.5", "option levels=0.25+nan: write two or more"),
        ("selector:levels=inf+0.25,bins=0.5", "option levels=inf+0.25: write two or more"),
        ("selector:levels=0.25+0.5,bins=2", "option bins=2: write 1 threshold from 0 to 1"),
        ("selector:levels=0.25+0.25", "option levels=0.25+0.25: write two or more different levels"),
        ("selector:levels=a+b", "option levels=a+b: write numbers with + between"),
        ("selector:bins=0.9+0.6", "option bins=0.9+0.6: write 2 thresholds from 0 to 1, increasing"),
        ("selector:bins=0.9", "option bins=0.9: write 2 thresholds from 0 to 1, increasing"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(text: str, reason: str) -> None:
    with pytest.raises(RaysmoothError) as refusal:
        read_search(text)
    assert reason in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "noise", "sigma", "reason"),
    [
        ("ddrs:least=0.3", "gaussian", 0.25, "begins at sigma 0.25 and goes from 0.3 to 1: write least= and most="),
        ("grid:most=64", "gaussian", 0.25, "for 64 of 255 grey levels write most=64/255"),
        ("grid:most=0.4", "uniform", 0.25, "begins at lambda 0.433013 and goes from 0.108253 to 0.4"),
        ("selector:levels=32+64,bins=0.5", "gaussian", 0.25, "write levels=32/255"),
        ("selector:n=10", "gaussian", 0.25, "n=10 draws of the selector at half of alpha=0.001 can only abstain"),
    ],
)
def test_levels_that_do_not_fit_the_run_are_refused(text: str, noise: str, sigma: float, reason: str) -> None:
    _, options = read_search(text)
    with pytest.raises(RaysmoothError) as refusal:
        options.refuse_unfit(noise, sigma)
    assert reason in str(refusal.value)
    read_search("ddrs")[1].refuse_unfit(noise, sigma)


def test_a_search_is_kept_at_every_hundredth_step_and_at_its_last() -> None:
    assert Ddrs(steps=400).kept_steps == (100, 200, 300, 400)
    assert Ddrs(steps=250).kept_steps == (100, 200, 250)
    assert Ddrs(steps=7).kept_steps == (7,)
    assert read_search("grid")[1].kept_steps == read_search("selector")[1].kept_steps == (0,)
    canonical = str(read_search("ddrs:steps=900,draws=4")[0])
    assert rule_of(canonical, 300) == canonical.replace("steps=900", "steps=300")
    assert rule_of("grid", 0) == str(read_search("grid")[0])


def test_costs_and_facts() -> None:
    assert {name: read_search(name)[1].passes for name in SEARCHES} == {"ddrs": 2700, "grid": 200, "selector": 10_100}
    assert Ddrs(steps=10, draws=4, anchor="on").passes == 3 * 10 * 4 + 100
    assert [name for name in SEARCHES if SEARCHES[name].options.certified] == ["selector"]
    assert [name for name in SEARCHES if not SEARCHES[name].options.needs_logits] == ["grid"]
    assert [name for name in GRADIENTS if Ddrs(gradient=name).needs_gradients] == ["backward", "forward"]
    assert Bounded().bounds(0.5) == (0.125, 2.0)
    assert (Selector().choices, Selector().thresholds) == ((0.25, 0.5, 1.0), (0.6, 0.9))
    for entry in SEARCHES.values():
        assert entry.options().brief(50).passes <= entry.options().passes
