"""A paper's numbers and ours, against tables worked out by hand."""

import pandas as pd

from raysmooth.common.settings import checked
from raysmooth.tune.experiments.paper_comparison import compare_with_paper
from raysmooth.tune.experiments.settings import NumbersSettings

# Of 500 images: 351 certified at 0, 300 at 0.25, 101 at 0.5; and so on.
SUMMARY = pd.DataFrame(
    {
        "run_id": ["a", "b", "c", "d"],
        "sigma": [0.25, 0.25, 0.5, 0.5],
        "rows": [500, 500, 500, 500],
        "r=0": [351 / 500, 350 / 500, 250 / 500, 251 / 500],
        "r=0.25": [300 / 500, 310 / 500, 200 / 500, 200 / 500],
        "r=0.5": [101 / 500, 101 / 500, 150 / 500, 150 / 500],
        "ACR": [0.30049, 0.3, 0.25, 0.375],
    }
)


def numbers(layout: str, rows: list[dict[str, object]], radii: tuple[float, ...] = (0.25, 0.5)) -> NumbersSettings:
    return checked(NumbersSettings, {"layout": layout, "radii": list(radii), "rows": rows})


def test_the_envelope_has_the_winner_and_its_clean_accuracy() -> None:
    table = numbers("envelope", [{"row": "Ours", "ours": ["x", "y"], "values": ["(72)56", None]}])
    comparison = compare_with_paper(table, SUMMARY, {"x": ["a", "b"], "y": ["c", "d"]})
    assert comparison.to_dict("records") == [
        {"model": "Ours", "whose": "paper", "r=0.25": "(72)56", "r=0.5": "-"},
        # b wins at 0.25; c and d tie at 0.5, of which d is the more accurate: 251 of 500.
        {"model": "Ours", "whose": "ours", "r=0.25": "(70.0)62.0", "r=0.5": "(50.2)30.0"},
    ]


def test_one_noise_level_of_a_row_and_none() -> None:
    rows = [
        {"row": "A", "sigma": 0.25, "ours": ["x"], "acr": 0.911, "values": [99.2, None]},
        {"row": "A", "sigma": 1.0, "ours": ["x"], "acr": None, "values": [96.4, 94.4]},
    ]
    comparison = compare_with_paper(numbers("single", rows), SUMMARY, {"x": ["a", "c"]})
    assert list(comparison.columns) == ["model", "sigma", "whose", "ACR", "r=0.25", "r=0.5"]
    assert comparison.to_numpy().tolist() == [
        ["A", "0.25", "paper", "0.911", "99.2", "-"],
        ["A", "0.25", "ours", "0.300", "60.0", "20.2"],  # rounded down from 0.30049
        ["A", "1", "paper", "-", "96.4", "94.4"],
        ["A", "1", "ours", "-", "-", "-"],
    ]


def test_seeds_have_their_mean_and_deviation() -> None:
    rows = [{"row": "A", "sigma": 0.5, "ours": ["x"], "acr": "0.9108±0.0003"}]
    comparison = compare_with_paper(numbers("seeds", rows, ()), SUMMARY, {"x": ["c", "d"]})
    # Mean of 0.25 and 0.375; their deviation is 0.125 / sqrt(2) = 0.08838..., rounded up.
    assert comparison["ACR"].tolist() == ["0.9108±0.0003", "0.3125±0.0884 (2 seeds)"]
    comparison = compare_with_paper(numbers("seeds", rows, ()), SUMMARY, {"x": ["d"]})
    assert comparison["ACR"].tolist()[1] == "0.3750"


def test_what_is_unknown_and_what_is_missing() -> None:
    decided = SUMMARY.assign(**{"r=0": float("nan"), "r=0.25": [0.6, 0.62, 0.4, 0.4], "ACR": float("nan")})
    rows = [{"row": "A", "sigma": 0.25, "ours": ["x"], "acr": 0.911, "values": [99.2, 1.0]}]
    decided["r=0.5"] = float("nan")
    for layout in ("single", "seeds"):
        comparison = compare_with_paper(numbers(layout, rows), decided, {"x": ["a"]}, {"x": 1})
        assert comparison.iloc[1].tolist() == ["A", "0.25", "ours", "-", "60.0", "-"]
    table = numbers("envelope", [{"row": "Ours", "ours": ["x", "y"], "values": ["(72)56", None]}])
    comparison = compare_with_paper(table, decided, {"x": ["a", "b"]}, {"x": 2, "y": 2})
    assert comparison.iloc[1].tolist() == ["Ours", "ours (2 of 4 runs)", "(-)62.0", "-"]
