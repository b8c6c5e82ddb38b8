"""The ways of sampling and their options: what they are by default, and how a wrong one is refused before any work."""

from pathlib import Path
from typing import Any

import pytest
from command import command, flags, refused_without_trace

import raysmooth
from raysmooth.actors.noise.streams import Gaussian
from raysmooth.common.errors import RaysmoothError
from raysmooth.common.settings import checked
from raysmooth.pipeline.certification.adaptive import Adaptive, Tolerance
from raysmooth.pipeline.certification.sampling_methods import describe_sampling, sampling_rule
from raysmooth.pipeline.certification.sampling_rule import Fixed
from raysmooth.pipeline.certification.sequential_test import Decide
from raysmooth.pipeline.runs.procedures import PROCEDURES
from raysmooth.pipeline.runs.settings import CertifySettings

NEEDED: dict[str, Any] = {"dataset": "digits", "classifier": "base_classifiers:Linear", "sigma": 0.25, "n": 10_000}


def settings_of(**changes: Any) -> CertifySettings:
    return checked(CertifySettings, {**NEEDED, **changes})


@pytest.mark.parametrize(
    ("changes", "rule", "described"),
    [
        ({}, Fixed(100, 10_000, 0.001, Gaussian(0.25)), "fixed"),
        (
            {"sampling": "adaptive"},
            Adaptive(100, 10_000, 0.001, Gaussian(0.25), 100, Tolerance(0.02, "relative")),
            "adaptive:tolerance=2%,pilot=100",
        ),
        (
            {"sampling": "adaptive", "tolerance": "0.01", "pilot": 250, "n0": 50, "alpha": 0.01},
            Adaptive(50, 10_000, 0.01, Gaussian(0.25), 250, Tolerance(0.01, "absolute")),
            "adaptive:tolerance=0.01,pilot=250",
        ),
        (
            {"sampling": "decide", "radius": 0.5},
            Decide(100, 10_000, 0.001, Gaussian(0.25), 0.5),
            "decide:radius=0.5",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_way_has_its_rule_and_its_name_with_all_options(
    changes: dict[str, Any], rule: Any, described: str
) -> None:
    settings = settings_of(**changes)
    assert sampling_rule(settings, Gaussian(0.25)) == rule
    assert describe_sampling(settings) == described
    assert PROCEDURES["certify"].sampling(settings) == described


REFUSED = [
    ({"sampling": "adaptiv"}, "unknown sampling method 'adaptiv': did you mean 'adaptive'?"),
    ({"radius": "0.5"}, "--radius belongs to --sampling decide: write that too, or leave --radius out"),
    ({"sampling": "adaptive", "radius": "0.5"}, "--radius belongs to --sampling decide"),
    ({"tolerance": "1%"}, "--tolerance belongs to --sampling adaptive"),
    ({"sampling": "decide", "radius": "0.5", "pilot": "10"}, "--pilot belongs to --sampling adaptive"),
    ({"sampling": "decide"}, "--sampling decide needs --radius: write --radius 0.5, say"),
    ({"sampling": "decide", "radius": "0"}, "--radius 0: input should be greater than 0"),
    ({"sampling": "decide", "radius": "9"}, "--radius 9 at sigma 0.25 is beyond n=10000 draws at alpha=0.001"),
    ({"sampling": "adaptive", "tolerance": "little"}, "--tolerance little: write 2% for a share of the radius"),
    ({"sampling": "adaptive", "tolerance": "200%"}, "--tolerance 200%: a share of the radius is above 0% and below"),
    ({"sampling": "adaptive", "tolerance": "-1"}, "--tolerance -1: pixel units are a positive number"),
    ({"sampling": "adaptive", "pilot": "0"}, "--pilot 0: input should be greater than or equal to 1"),
    ({"sampling": "adaptive", "pilot": "10000"}, "--pilot 10000 leaves 0 of n=10000 draws"),
    ({"sampling": "adaptive", "pilot": "20000"}, "--pilot 20000 leaves 0 of n=10000 draws"),
    ({"sampling": "adaptive", "n": "9"}, "n=9 draws at alpha=0.001 can only abstain: write --n 10 or more"),
    ({"precision": "float23"}, "unknown precision 'float23': did you mean 'float32'?"),
    ({"precision": "int4"}, "unknown precision 'int4'"),
    ({"compile": "yes"}, "--compile yes: write auto, on or off"),
    ({"batch-size": "0"}, "--batch-size 0: input should be greater than or equal to 1"),
]


@pytest.mark.usefixtures("no_ray")
@pytest.mark.parametrize(("changes", "expected"), REFUSED, ids=lambda value: value if isinstance(value, str) else "")
def test_what_cannot_work_is_refused_in_one_line_before_ray_starts(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, changes: dict[str, str], expected: str
) -> None:
    line = refused_without_trace(capsys, "certify", tmp_path / "out", {**NEEDED, **changes})
    assert line.startswith(expected)


def test_predictions_know_no_other_sampling() -> None:
    with pytest.raises(RaysmoothError, match="unknown setting 'sampling'"):
        raysmooth.predict(**NEEDED, sampling="adaptive")


def test_tensor_cores_are_refused_where_the_replica_has_none(
    ray_cluster: object, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Only the replica knows."""
    settings = {**NEEDED, "max": 1, "n": 50, "precision": "tf32", "replicas": 1, "out": str(tmp_path / "out")}
    code, _, err = command(capsys, "certify", *flags(settings))
    assert code == 2
    refusal = "raysmooth: precision tf32 needs an NVIDIA GPU, Ampere or newer, not 'cpu': "
    assert err.splitlines()[-1].startswith(refusal)
    assert "Traceback" not in err
    assert not list(tmp_path.rglob("*.parquet"))
