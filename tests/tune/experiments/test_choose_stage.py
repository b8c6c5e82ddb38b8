"""A stage that chooses a network by certificates of other images than those of the test."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from test_experiment import BASE, CERTIFY, plan_of, run

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.store import parts
from raysmooth.tune.experiments.check import Inspector, refuse_impossible
from raysmooth.tune.experiments.choose_stage import checked_choice, chosen
from raysmooth.tune.experiments.stage_kinds import ReadyRun

pytestmark = pytest.mark.timeout(600)


def rows(*radii: float, split: str = "train", labelled: bool = True) -> pd.DataFrame:
    """Certificates of a run, all of them right."""
    label, correct = ([3] * len(radii), [True] * len(radii)) if labelled else ([None] * len(radii), [None] * len(radii))
    return pd.DataFrame(
        {
            "radius": radii,
            "split": split,
            "label": label,
            "correct": correct,
            "abstain": False,
            "status": "ok",
            "sampling": "fixed",
        }
    )


def test_the_mean_of_the_acrs_decides(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    runs = {"a": rows(0.1, 0.3), "b": rows(0.4, 0.4), "c": rows(0.2, 0.6), "d": rows(0.3, 0.3)}
    monkeypatch.setattr(parts, "read_rows", lambda out, folder, run_id: runs[run_id])

    def choice(*candidates: tuple[str, Any]) -> tuple[Path, str]:
        settings = checked_choice({"of": [{"weights": name, "judged_by": by} for name, by in candidates]})
        return chosen(tmp_path, ReadyRun("best", settings))

    # By hand: a 0.2, b 0.4, c 0.4, d 0.3; a and b together 0.3.
    assert choice(("one.safetensors", "a"), ("two.safetensors", ["c"]))[0] == Path("two.safetensors")
    assert choice(("one", ["a", "b"]), ("two", "d"))[0] == Path("one")  # of equally good ones the first
    assert choice(("one", "a,b"), ("two", "b"))[1] == "best: two is chosen by its ACR: one 0.3000, two 0.4000"
    runs["a"] = rows(0.1, split="test")
    with pytest.raises(RaysmoothError, match="stage best: judged by certificates of split test: choose by images of"):
        choice(("one", "a"), ("two", "b"))
    runs["a"] = rows(0.1, labelled=False)
    with pytest.raises(RaysmoothError, match="judged by certificates that have no ACR"):
        choice(("one", "a"), ("two", "b"))


@pytest.mark.parametrize(
    ("of", "words"),
    [
        ([{"weights": "@mse-0.25", "judged_by": "@judged-0.25"}], "at least 2"),
        ([{"weights": "@judged-0.25", "judged_by": "@judged-0.25"}] * 2, "a certify makes no weights"),
        ([{"weights": "@mse-0.25", "judged_by": "@mse-0.25"}] * 2, "a train denoiser makes no certificates"),
        ([{"weights": "@mse-0.25"}] * 2, "judged_by"),
    ],
)
def test_refusals(tmp_path: Path, of: Any, words: str) -> None:
    with pytest.raises(RaysmoothError, match=words):
        refuse_impossible(plan_of(tmp_path, {**JUDGED, "best": {"choose": {"of": of}}}), Inspector())


JUDGED: dict[str, Any] = {
    "judged": {
        "certify": {**CERTIFY, "sigma": [0.25, 0.5], "denoiser": "@mse-{sigma}", "denoiser_weights": "@mse-{sigma}",
                    "split": "train", "start": 9},
    },
}  # fmt: skip


def test_a_later_stage_certifies_the_chosen_network(tmp_path: Path, one_pool: None) -> None:
    candidates = [{"weights": f"@mse-{sigma}", "judged_by": f"@judged-{sigma}"} for sigma in ("0.25", "0.5")]
    plan = plan_of(
        tmp_path,
        {
            **{name: stage for name, stage in BASE["stages"].items() if name != "stab"},
            **JUDGED,
            "best": {"choose": {"of": candidates}},
            "certified": {"certify": {**CERTIFY, "denoiser": "@best", "denoiser_weights": "@best"}},
        },
    )
    outcome = run(plan)
    result, either = outcome.results["best"], {outcome.results[f"mse-{sigma}"].weights for sigma in ("0.25", "0.5")}
    assert result.weights in either
    assert result.architecture == "dncnn:channels=1,depth=3,width=4"
    found = parts.read_rows(plan.out, "certificates", next(iter(outcome.results["certified"].runs)))
    assert set(found["denoiser"]) == {result.architecture}
    assert run(plan).done_now == []
    assert list(result.files) == [result.weights]
