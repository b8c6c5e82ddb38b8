"""Each vendor's adapter, through the vendor's real client, against a local server of its protocol."""

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from asked_apis import asked, names
from fake_pictures import plain

from raysmooth.actors.apis.answers import Answer
from raysmooth.actors.apis.failures import ApiFailure, PictureRefused, Throttled, Transient
from raysmooth.tune.fake_apis.conduct import Conduct
from raysmooth.tune.fake_apis.fakes import Running, running

CLASSIFIERS = {
    "google": "google:key_env=GOOGLE_API_KEY",
    "google-rest": "google:key_env=GOOGLE_API_KEY,transport=rest",
    "aws": "aws:region=us-east-1",
    "azure": "azure:key_env=AZURE_VISION_KEY",
    "clarifai": "clarifai",
}
RED = plain(230, 20, 20, side=80)
GREEN = plain(20, 230, 20, side=80)

vendors = pytest.mark.parametrize("vendor", CLASSIFIERS)
Serve = Callable[..., "contextmanager[Running]"]


@pytest.fixture(autouse=True)
def no_credentials_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("AWS_SESSION_TOKEN", "AWS_PROFILE", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("NO_GCE_CHECK", "true")


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Serves a vendor's fake with a conduct, with the environment that its client needs."""

    @contextmanager
    def serve(vendor: str, **conduct: object) -> Iterator[Running]:
        with running(vendor, Conduct(**conduct)) as fake:
            for name, value in fake.address.environment.items():
                monkeypatch.setenv(name, value)
            yield fake

    return serve


@vendors
def test_tags_with_their_scores_and_the_version(vendor: str, served: Serve) -> None:
    with served(vendor) as fake:
        red, green = (asked(CLASSIFIERS[vendor], fake.address.endpoint, picture)[0] for picture in (RED, GREEN))
        assert isinstance(red, Answer)
        assert (names(red)[0], names(green)[0]) == ("red", "green")
        # By hand: exp(-50 d) / sum, with d the squared distance to each colour; the nearest alone counts.
        assert red.tags[0].score == pytest.approx(1, abs=1e-3)
        assert all(0 <= tag.score <= 1 and not tag.parents for tag in red.tags)
        assert red.version == (None if vendor.startswith("google") else "2026-01-15")
        assert "red" in json.dumps(json.loads(red.raw))
        assert (fake.bill["requests"], fake.bill["billed"]) == (2, 2)


@vendors
def test_many_requests_at_once(vendor: str, served: Serve) -> None:
    with served(vendor, latency=0.05) as fake:
        outcomes = asked(CLASSIFIERS[vendor], fake.address.endpoint, RED, times=24)
        assert [names(outcome)[0] for outcome in outcomes] == ["red"] * 24
        assert fake.bill["requests"] == 24


@vendors
def test_throttled_once_means_one_request(vendor: str, served: Serve) -> None:
    with served(vendor, throttle=1.0, retry_after=2.5) as fake:
        outcomes = asked(CLASSIFIERS[vendor], fake.address.endpoint, RED, times=2)
        for outcome in outcomes:
            assert isinstance(outcome, Throttled), outcome
            assert outcome.retry_after == (None if vendor == "clarifai" else 2.5)
        assert fake.bill["requests"] == 2


@vendors
def test_an_outage_is_transient_and_is_not_retried_by_the_client(vendor: str, served: Serve) -> None:
    with served(vendor, unavailable=1.0) as fake:
        (outcome,) = asked(CLASSIFIERS[vendor], fake.address.endpoint, RED)
        assert isinstance(outcome, Transient), outcome
        assert outcome.billed
        assert fake.bill["requests"] == 1


@vendors
def test_a_dropped_connection_may_have_been_billed(vendor: str, served: Serve) -> None:
    with served(vendor, reset=1.0) as fake:
        (outcome,) = asked(CLASSIFIERS[vendor], fake.address.endpoint, RED)
        assert isinstance(outcome, Transient), outcome
        assert outcome.billed
        assert (fake.bill["requests"], fake.bill["billed"]) == (1, 1)


@vendors
def test_a_stalled_request_ends_when_its_caller_gives_up(vendor: str, served: Serve) -> None:
    with served(vendor, stall=1.0) as fake:
        (outcome,) = asked(CLASSIFIERS[vendor], fake.address.endpoint, RED, timeout=0.5)
        assert isinstance(outcome, TimeoutError)
        assert fake.bill["requests"] == 1


@vendors
def test_where_nothing_listens_nothing_is_billed(vendor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in (
        "GOOGLE_API_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AZURE_VISION_KEY",
        "CLARIFAI_PAT",
    ):
        monkeypatch.setenv(variable, "key")
    with socket.socket() as bound:  # no other process can take the port, and no one listens at it
        bound.bind(("127.0.0.1", 0))
        (outcome,) = asked(CLASSIFIERS[vendor], f"http://127.0.0.1:{bound.getsockname()[1]}", RED)
    assert isinstance(outcome, Transient), outcome
    assert not outcome.billed


@vendors
def test_rubbish_counts_as_no_answer(vendor: str, served: Serve) -> None:
    with served(vendor, rubbish=1.0) as fake:
        (outcome,) = asked(CLASSIFIERS[vendor], fake.address.endpoint, RED)
        assert isinstance(outcome, PictureRefused), outcome
        assert (fake.bill["requests"], fake.bill["billed"]) == (1, 1)


@vendors
def test_a_refused_picture_is_an_outcome_of_its_own(vendor: str, served: Serve) -> None:
    with served(vendor, refuse=1.0) as fake:
        (outcome,) = asked(CLASSIFIERS[vendor], fake.address.endpoint, RED)
        assert isinstance(outcome, PictureRefused), outcome
        assert "content policy" in str(outcome)
        assert "content policy" in json.dumps(json.loads(outcome.raw))
        assert fake.bill["requests"] == 1


@vendors
def test_a_wrong_key_ends_the_run_and_is_not_repeated(
    vendor: str, served: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(vendor) as fake:
        for variable in fake.address.environment:
            monkeypatch.setenv(variable, "s3cr3t-of-another")
        (outcome,) = asked(CLASSIFIERS[vendor], fake.address.endpoint, RED)
        assert isinstance(outcome, ApiFailure), outcome
        assert "does not accept the credentials" in str(outcome)
        assert "s3cr3t" not in str(outcome)
        assert (fake.bill["requests"], fake.bill["billed"]) == (1, 0)


@pytest.mark.parametrize(
    ("vendor", "classifier", "model"),
    [
        ("google", "google:key_env=GOOGLE_API_KEY,model=builtin/latest", "builtin/stable"),
        ("google-rest", "google:key_env=GOOGLE_API_KEY,model=builtin/latest,transport=rest", "builtin/stable"),
        ("azure", "azure:key_env=AZURE_VISION_KEY,model_version=2023-10-01", "2024-01-01"),
        ("clarifai", "clarifai:model=general", "general-image-recognition"),
    ],
)
def test_an_unknown_model_ends_the_run(vendor: str, classifier: str, model: str, served: Serve) -> None:
    with served(vendor, model=model) as fake:
        (outcome,) = asked(classifier, fake.address.endpoint, RED)
        assert isinstance(outcome, ApiFailure), outcome
        assert "model" in str(outcome)
        assert fake.bill["requests"] == 1


@vendors
def test_an_exhausted_quota_ends_the_run(vendor: str, served: Serve) -> None:
    with served(vendor, quota=1) as fake:
        first = asked(CLASSIFIERS[vendor], fake.address.endpoint, RED)[0]
        second = asked(CLASSIFIERS[vendor], fake.address.endpoint, RED)[0]
        assert isinstance(first, Answer), first
        assert isinstance(second, ApiFailure), second
        assert "exhausted" in str(second)
        assert (fake.bill["requests"], fake.bill["billed"]) == (2, 1)


@pytest.mark.parametrize(("vendor", "side"), [("aws", 79), ("azure", 50)])
def test_pictures_below_the_smallest_size_are_refused_as_the_vendors_do(vendor: str, side: int, served: Serve) -> None:
    with served(vendor) as fake:
        small, enough = (
            asked(CLASSIFIERS[vendor], fake.address.endpoint, plain(230, 20, 20, side=size))[0]
            for size in (side, side + 1)
        )
        assert isinstance(small, ApiFailure | PictureRefused)
        assert isinstance(enough, Answer)


@pytest.mark.parametrize(
    ("vendor", "option"),
    [("google", "max_results=3"), ("google-rest", "max_results=3"), ("aws", "max_labels=3,min_confidence=0"),
     ("clarifai", "max_concepts=3")],
)  # fmt: skip
def test_no_more_labels_than_asked_for(vendor: str, option: str, served: Serve) -> None:
    classifier = CLASSIFIERS[vendor]
    with served(vendor) as fake:
        joint = "," if ":" in classifier else ":"
        assert len(names(asked(f"{classifier}{joint}{option}", fake.address.endpoint, RED)[0])) == 3
