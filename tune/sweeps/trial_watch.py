"""Ray Tune's callback while trials run."""

from collections.abc import Mapping
from typing import Any

from ray.tune import Callback

from raysmooth.tune.sweeps.progress import OBSERVERS


class TrialWatch(Callback):
    """Passes Ray Tune's news to `OBSERVERS`. It has no state: Ray Tune pickles it with the sweep and restores it."""

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any) -> None:
        for observer in OBSERVERS:
            observer.trial_validated(trial.trial_id, result)

    def on_step_end(self, iteration: int, trials: list[Any], **_: Any) -> None:
        for observer in OBSERVERS:
            observer.trials_changed({t.trial_id: (t.status, _done(t.last_result), t.config) for t in trials})


def _done(result: Mapping[str, Any] | None) -> float:
    return result["epoch"] / result["epochs"] if result and "epochs" in result else 0.0
