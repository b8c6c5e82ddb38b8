"""What is said below rows that are shown together."""

from raysmooth.pipeline.analysis.sigmas.limits import MEMORY, PER_IMAGE, limits_of_all

FIXED = {"sigma_rule": None, "source": None}
DDRS = {"sigma_rule": "ddrs:steps=100", "source": None}
SELECTOR = {"sigma_rule": "selector:levels=0.25+0.5", "source": None}
REMEMBERED = {"sigma_rule": "ddrs:steps=100", "source": "memory of 0123456789abcdef"}


def test_the_sentence_on_levels_says_which_rows_it_is_about() -> None:
    assert limits_of_all([FIXED, SELECTOR]) == []
    assert limits_of_all([DDRS, DDRS]) == [PER_IMAGE]
    about = "Where DDRS or a grid search chose sigma: each row certifies"
    assert limits_of_all([FIXED, DDRS]) == [PER_IMAGE.replace("Each row certifies", about)]
    assert limits_of_all([SELECTOR, DDRS]) == limits_of_all([FIXED, DDRS])
    assert limits_of_all([REMEMBERED, DDRS]) == [MEMORY, *limits_of_all([FIXED, DDRS])]
