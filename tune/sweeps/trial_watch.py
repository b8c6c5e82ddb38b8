"""What Ray Tune calls while trials run."""

from collections.abc import Mapping
from typing import Any

from ray.tune import Callback

from raysmooth.tune.sweeps.progress import WATCHING


class TrialWatch(Callback):
    """Ray Tune's side of it. It is stored with the sweep's state and comes back with it, so it holds nothing."""

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any) -> None:
        for progress in WATCHING:
            progress.reported(trial.trial_id, result)

    def on_step_end(self, iteration: int, trials: list[Any], **_: Any) -> None:
        for progress in WATCHING:
            progress.known({t.trial_id: (t.status, _share(t.last_result), t.config) for t in trials})


def _share(result: Mapping[str, Any] | None) -> float:
    return result["epoch"] / result["epochs"] if result and "epochs" in result else 0.0
