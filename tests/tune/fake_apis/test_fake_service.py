"""How a fake API behaves, without a protocol."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
from fake_pictures import digits, plain, png, trained_digits_cnn

from raysmooth.common.errors import RaysmoothError
from raysmooth.tune.fake_apis.classify import nearest_colour, trained_network
from raysmooth.tune.fake_apis.conduct import Conduct, Trouble, Troubled
from raysmooth.tune.fake_apis.service import FakeService, Offence, Scores

PICTURES = [plain(red, green, 0) for red in range(0, 250, 10) for green in range(0, 200, 10)]


class Asked:
    """A service whose clock stands still unless it is set. Answers are results or troubles."""

    def __init__(self, key: str = "fake-key", **conduct: object) -> None:
        self.now = 0.0
        self.key = key
        self.loop = asyncio.new_event_loop()
        self.service = FakeService(Conduct(**conduct), clock=lambda: self.now)  # type: ignore[arg-type]

    def __call__(self, *pictures: bytes, model: str | None = None) -> list[Scores | Offence] | Trouble:
        try:
            return self.loop.run_until_complete(self.service.ask(pictures, self.key, model))
        except Troubled as troubled:
            return troubled.trouble

    def __del__(self) -> None:
        self.loop.close()

    def best(self, picture: bytes) -> str:
        answer = self(picture)
        assert isinstance(answer, list)
        assert isinstance(answer[0], Scores)
        return answer[0].labels[0][0]


def test_the_nearest_colour_is_the_label() -> None:
    ask = Asked()
    assert ask.best(plain(250, 10, 10)) == "red"
    assert ask.best(plain(120, 130, 128)) == "grey"
    assert ask.best(png(np.full((5, 7, 1), 255, np.uint8))) == "white"


def test_scores_are_the_softmax_of_minus_50_squared_distances() -> None:
    answer = nearest_colour().scores(plain(255, 255, 0))
    assert answer[0][0] == "yellow"
    # Distances to yellow, grey: 0 and 3/4; to red, green, white: 1. The others weigh less than e-100.
    assert answer[0][1] == pytest.approx(1 / (1 + np.exp(-37.5) + 3 * np.exp(-50)))
    assert sum(score for _, score in answer) == pytest.approx(1.0)
    assert [name for name, _ in answer[2:5]] == ["green", "red", "white"]  # equal scores by name


def test_what_is_no_picture_is_refused_and_billed() -> None:
    ask = Asked()
    (answer,) = ask(b"GIF89a")
    assert isinstance(answer, Offence)
    assert ask.service.bill.as_json()["billed"] == ask.service.bill.as_json()["refused"] == 1


def test_a_trained_network_answers_upscaled_pictures_as_it_does_the_pixels(tmp_path: Path) -> None:
    images, labels = digits()
    weights = str(trained_digits_cnn(tmp_path))
    names = [f"digit {label}" for label in range(10)]
    classifier = trained_network("digits_cnn", weights, names, downscale=4)
    upscaled = images.repeat(4, axis=1).repeat(4, axis=2)
    grey_as_colour = np.repeat(upscaled, 3, axis=3)
    answers = [classifier.scores(png(picture)) for picture in upscaled[:100]]
    assert answers == [classifier.scores(png(picture)) for picture in grey_as_colour[:100]]
    logits = classifier.logits(np.moveaxis(images[:100], 3, 1).astype(np.float32) / 255)
    assert [answer[0][0] for answer in answers] == [names[label] for label in logits.argmax(axis=1)]
    assert np.mean(logits.argmax(axis=1) == labels[:100]) >= 0.9


def test_labels_must_be_as_many_as_classes(tmp_path: Path) -> None:
    weights = str(trained_digits_cnn(tmp_path))
    with pytest.raises(RaysmoothError, match="digits_cnn has 10 classes, and there are 2 labels"):
        trained_network("digits_cnn", weights, ["a", "b"])


def test_keys_models_and_quotas() -> None:
    assert Asked(key="wrong")(PICTURES[0]) is Trouble.WRONG_KEY
    assert Asked(model="m")(PICTURES[0], model="other") is Trouble.UNKNOWN_MODEL
    assert isinstance(Asked(model="m")(PICTURES[0], model="m"), list)
    ask = Asked(quota=2)
    assert isinstance(ask(*PICTURES[:2]), list)
    assert ask(PICTURES[2]) is Trouble.EXHAUSTED
    assert ask.service.bill.billed == 2


def test_the_limit_is_a_bucket_by_its_own_clock() -> None:
    ask = Asked(limit=4, burst=2)
    assert isinstance(ask(*PICTURES[:2]), list)
    assert ask(PICTURES[0]) is Trouble.THROTTLED
    ask.now = 0.25
    assert isinstance(ask(PICTURES[0]), list)
    assert ask(PICTURES[0]) is Trouble.THROTTLED
    ask.now = 100.0
    assert ask(*PICTURES[:3]) is Trouble.THROTTLED  # more than it ever holds
    assert (ask.service.bill.billed, ask.service.bill.throttled) == (3, 5)


def test_throttling_at_random_comes_from_the_seed() -> None:
    def pattern(seed: int) -> list[bool]:
        ask = Asked(throttle=0.4, seed=seed)
        return [ask(picture) is Trouble.THROTTLED for picture in PICTURES]

    assert pattern(1) == pattern(1) != pattern(2)
    assert 0.3 < np.mean(pattern(1)) < 0.5


def test_a_dropped_answer_is_billed_and_an_unavailable_service_is_not() -> None:
    for share, trouble, billed in (("reset", Trouble.RESET, 1), ("rubbish", Trouble.RUBBISH, 1)):
        ask = Asked(**{share: 1.0})
        assert ask(PICTURES[0]) is trouble
        assert ask.service.bill.billed == billed
    ask = Asked(unavailable=1.0)
    assert ask(PICTURES[0]) is Trouble.UNAVAILABLE
    assert ask.service.bill.billed == 0


def test_a_refused_picture_is_refused_each_time() -> None:
    ask = Asked(refuse=0.3)
    refused = [isinstance(ask(picture)[0], Offence) for picture in PICTURES]  # type: ignore[index]
    assert refused == [isinstance(ask(picture)[0], Offence) for picture in PICTURES]  # type: ignore[index]
    assert 0.2 < np.mean(refused) < 0.4


def test_the_version_changes_after_as_many_pictures_as_it_says() -> None:
    ask = Asked(change_after=3)
    versions = [ask(picture)[0].version for picture in PICTURES[:5]]  # type: ignore[index]
    assert versions == ["2026-01-15"] * 3 + ["2026-06-30"] * 2


def test_random_answers_differ_for_the_same_picture() -> None:
    ask = Asked(random_answers=0.5)
    answers = [ask.best(plain(255, 0, 0)) for _ in range(200)]
    # "red" where nothing happens, and one time in nine where something does: 0.5 + 0.5 / 9 = 0.556.
    assert 0.45 < np.mean([answer == "red" for answer in answers]) < 0.65
    assert len(set(answers)) == 9


def test_a_vocabulary_of_5000_labels_is_decided_by_the_picture() -> None:
    ask = Asked(vocabulary=5000, strange=0.5)
    best = [ask.best(picture) for picture in PICTURES]
    assert best == [ask.best(picture) for picture in PICTURES]
    strange = [name for name in best if name.startswith("thing ")]
    assert 200 < len(strange) < 300
    assert len(set(strange)) > 180
    assert set(best) <= set(ask.service.labels)
    assert len(ask.service.labels) == 5009


def test_numbers_have_logits_of_their_own() -> None:
    service = FakeService(Conduct(random_answers=1.0))
    logits, version = asyncio.run(service.ask_numbers(np.zeros((4, 3, 2, 2), np.float32), "fake-key"))
    assert logits.shape == (4, 9)
    assert version == "2026-01-15"
    assert service.bill.as_json()["billed"] == 4
    assert service.bill.as_json()["most_times"] == 4
