"""The name of a query says all that decides its answer, and nothing else."""

from dataclasses import replace
from typing import Any

import pytest
from pydantic.dataclasses import dataclass

from raysmooth.actors.apis import apis
from raysmooth.actors.apis.vision_api import ApiEntry
from raysmooth.actors.noise.families import noise_family
from raysmooth.actors.queries.query_spec import QuerySpec
from raysmooth.common.registry import Registry
from raysmooth.common.settings import Options
from raysmooth.pipeline.queries.identity import QueryIdentity

SPEC = QuerySpec("some:model=small", None, noise_family("gaussian", 0.25), seed=0)
DENOISED = {"denoiser": "dncnn", "denoiser_fingerprint": "a" * 64}

OTHERS: dict[str, dict[str, Any]] = {
    "sigma": {"noise": noise_family("gaussian", 0.5)},
    "family": {"noise": noise_family("uniform", 0.25)},
    "seed": {"seed": 1},
    "denoiser": DENOISED,
    "weights": {**DENOISED, "denoiser_fingerprint": "b" * 64},
}
ALL_OTHERS: dict[str, dict[str, Any]] = {
    "model": {"api": "some:model=large"},
    "endpoint": {"endpoint": "http://localhost:1"},
    "encoding": {"encoding": "jpeg:quality=95,subsampling=0"},
    "quality": {"encoding": "jpeg:quality=90,subsampling=0"},
    "upscale": {"upscale": "nearest:factor=2"},
}


@dataclass(frozen=True)
class SomeOptions(Options):
    model: str = "small"


def unused(*_: Any) -> Any:
    raise AssertionError("an identity needs no client")


@pytest.fixture(autouse=True)
def _apis(monkeypatch: pytest.MonkeyPatch) -> None:
    def describe(options: SomeOptions, endpoint: str | None) -> dict[str, Any]:
        return {"api": "some", "model": options.model, "endpoint": endpoint}

    entry = ApiEntry("pictures", SomeOptions, unused, unused, describe)
    entries = {"some": entry, "numbers": replace(entry, takes_numbers=True)}
    monkeypatch.setattr(apis, "VISION_APIS", Registry("vision API", entries))


def test_all_that_decides_an_answer_is_in_it() -> None:
    specs = [SPEC, *(replace(SPEC, **other) for other in {**OTHERS, **ALL_OTHERS}.values())]
    ids = [QueryIdentity.of(spec).id for spec in specs]
    assert len(set(ids)) == len(specs)
    assert all(len(one) == 16 and int(one, 16) >= 0 for one in ids)


@pytest.mark.parametrize(
    "other",
    [
        {"noise": noise_family("gaussian", 0.25, "linf", 12)},
        {"encoding": "png:level=6"},
        {"concurrency": 1, "timeout": 1.0, "patience": 1.0},
        {"denoiser_weights": "elsewhere.safetensors", "import_path": ("/tmp",)},
    ],
)
def test_nothing_else_is(other: dict[str, Any]) -> None:
    again = QueryIdentity.of(replace(SPEC, **other))
    assert again.id == QueryIdentity.of(SPEC).id
    assert again == QueryIdentity.of(SPEC)
    assert hash(again) == hash(QueryIdentity.of(SPEC))


def test_references_are_shared_by_noise_levels_and_denoisers() -> None:
    reference = QueryIdentity.of_reference(SPEC)
    assert reference.is_reference
    assert not QueryIdentity.of(SPEC).is_reference
    assert reference != QueryIdentity.of(SPEC)
    for name, other in OTHERS.items():
        assert QueryIdentity.of_reference(replace(SPEC, **other)) == reference, name
    for name, other in ALL_OTHERS.items():
        assert QueryIdentity.of_reference(replace(SPEC, **other)) != reference, name


def test_an_api_of_numbers_has_no_encoding() -> None:
    spec = replace(SPEC, api="numbers")
    assert QueryIdentity.of(spec).facts["encoding"] == "numbers"
    assert QueryIdentity.of(replace(spec, encoding="jpeg:quality=95,subsampling=0")) == QueryIdentity.of(spec)
