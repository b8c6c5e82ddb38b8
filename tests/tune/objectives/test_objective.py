import json

import pytest

from raysmooth.common.errors import RaysmoothError
from raysmooth.tune.objectives.classifier_objectives import CLASSIFIER_OBJECTIVES, Consistency, Macer, SmoothAdv
from raysmooth.tune.objectives.denoiser_objectives import DENOISER_OBJECTIVES, Stability
from raysmooth.tune.objectives.objective import describe, parse_objective, with_defaults
from raysmooth.tune.objectives.rejector_objectives import REJECTOR_OBJECTIVES


def test_reads_name_entry_and_options() -> None:
    name, entry, objective = parse_objective("consistency:m=4,lambda=10,loss=kl", CLASSIFIER_OBJECTIVES)
    assert (name, entry) == ("consistency", CLASSIFIER_OBJECTIVES["consistency"])
    assert objective == Consistency(lambda_=10.0, m=4, eta=0.5, loss="kl")


def test_entries_without_options() -> None:
    name, entry, objective = parse_objective("stab+mse", DENOISER_OBJECTIVES)
    assert (name, entry.starts_from, objective) == ("stab+mse", "mse", Stability())


def test_the_defaults_of_the_supplement() -> None:
    expected = {
        "clean": {},
        "gaussian": {},
        "stability": {"lambda": 2.0},
        "smoothadv": {
            "attack": "pgd", "steps": 10, "epsilon": 1.0, "m": 4, "warmup": 10.0, "lambda": 0.0, "eta": 0.5,
        },
        "macer": {"m": 16, "lambda": 16.0, "gamma": 8.0, "beta": 16.0, "deferral": 0.0},
    }  # fmt: skip
    assert {name: describe(parse_objective(name, CLASSIFIER_OBJECTIVES)[2]) for name in expected} == expected
    consistency = describe(parse_objective("consistency:lambda=10", CLASSIFIER_OBJECTIVES)[2])
    assert consistency == {"lambda": 10.0, "m": 2, "eta": 0.5, "loss": "cross-entropy"}


def test_chunks_are_the_draws_where_the_published_codes_split_the_batch() -> None:
    chunks = {"clean": 1, "gaussian": 1, "stability": 1, "consistency:m=8,lambda=1": 8, "smoothadv:m=2": 2, "macer": 1}
    assert {text: parse_objective(text, CLASSIFIER_OBJECTIVES)[2].chunks for text in chunks} == chunks


def test_a_description_can_be_written_to_a_card_and_built_again() -> None:
    for objective in (Consistency(lambda_=3), SmoothAdv(attack="ddn", lambda_=1), Macer(deferral=2.5)):
        options = json.loads(json.dumps(describe(objective)))
        name = type(objective).__name__.lower()
        text = with_defaults(name, options)
        assert parse_objective(text, CLASSIFIER_OBJECTIVES)[2] == objective


@pytest.mark.parametrize(
    ("text", "defaults", "expected"),
    [
        ("gaussian", {}, "gaussian"),
        ("consistency", {"lambda": 10.0}, "consistency:lambda=10.0"),
        ("consistency:m=4,lambda=3", {"lambda": 10.0, "eta": 0.1}, "consistency:eta=0.1,lambda=3,m=4"),
        (" smoothadv:m=2 ", {}, "smoothadv:m=2"),
        ("stab+mse", {}, "stab+mse"),
    ],
)
def test_what_is_written_wins_over_defaults(text: str, defaults: dict, expected: str) -> None:
    assert with_defaults(text, defaults) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("consistancy:lambda=3", "unknown classifier objective 'consistancy': did you mean 'consistency'?"),
        ("my_models:make", "unknown classifier objective 'my_models:make'"),
        ("consistency", "'consistency': option lambda is missing: write a number, 0 or more (published, at sigma 0.25"),
        ("consistency:lambda=3,ita=1", "'consistency' has no option 'ita': did you mean 'eta'?"),
        ("macer:lambda_=3", "has no option 'lambda_': did you mean 'lambda'?"),
        ("clean:m=2", "'clean' has no option 'm': it takes none, write clean"),
        ("consistency:lambda=3,m=0", "option m=0: write a whole number above 0"),
        ("macer:m=2.5", "option m=2.5: write a whole number"),
        ("smoothadv:steps=true", "option steps=True: write a whole number"),
        ("smoothadv:steps=0", "option steps=0: write a whole number"),
        ("stability:lambda=-1", "option lambda=-1: write a number, 0 or more"),
        ("stability:lambda=much", "option lambda=much: write a number"),
        ("stability:lambda=nan", "option lambda=nan: write a number"),
        ("stability:lambda=1e999", "option lambda=inf: write a number"),
        ("stability:lambda=1" + 400 * "0", "write a number"),
        ("smoothadv:epsilon=0", "option epsilon=0: write a number above 0"),
        ("smoothadv:warmup=-1", "option warmup=-1: write a number, 0 or more"),
        ("macer:beta=0", "option beta=0: write a number above 0"),
        ("smoothadv:attack=pdg", "unknown attack 'pdg': did you mean 'pgd'?"),
        ("smoothadv:attack=3", "unknown attack '3'"),
        ("consistency:lambda=3,loss=mes", "unknown consistency loss 'mes': did you mean 'mse'?"),
        ("consistency:lambda=3,loss=mse,m=4", "loss=mse compares two draws, not 4: write m=2"),
        ("consistency:m=2,m=3", "each option once"),
        ("consistency:", "write NAME or NAME:option=value"),
        ("", "write NAME or NAME:option=value"),
    ],
)
def test_refusals_are_one_line_and_say_what_to_write(text: str, message: str) -> None:
    with pytest.raises(RaysmoothError) as refusal:
        parse_objective(text, CLASSIFIER_OBJECTIVES)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_objectives_built_in_python_are_checked_alike() -> None:
    with pytest.raises(RaysmoothError, match="option m=0"):
        Macer(m=0)
    with pytest.raises(RaysmoothError, match="option lambda is missing"):
        Consistency()


@pytest.mark.parametrize("registry", [CLASSIFIER_OBJECTIVES, DENOISER_OBJECTIVES, REJECTOR_OBJECTIVES])
def test_entries_have_a_summary_and_start_from_entries_of_their_own_registry(registry) -> None:
    for entry in registry.values():
        assert entry.summary
        assert entry.source
        assert entry.starts_from is None or entry.starts_from in registry
