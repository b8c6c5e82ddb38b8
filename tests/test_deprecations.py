"""No deprecated API of Ray is used: its warning is an error, in every process of the tests."""

import warnings

import pytest
import ray
from ray.util.annotations import RayDeprecationWarning


def test_rays_deprecation_warnings_are_errors_here() -> None:
    with pytest.raises(RayDeprecationWarning):
        warnings.warn("old", RayDeprecationWarning, stacklevel=1)


@pytest.mark.parametrize(
    "module",
    [
        "raysmooth.actors.replica.replica",
        "raysmooth.pipeline.pool.pool",
        "raysmooth.tune.sweeps.trial",
        "raysmooth.tune.sweeps.trial_watch",
    ],
)
def test_deprecation_warnings_of_our_modules_are_errors_in_workers(ray_cluster: dict[str, str], module: str) -> None:
    @ray.remote
    def warned() -> None:
        exec("import warnings; warnings.warn('old', DeprecationWarning)", {"__name__": module})

    with pytest.raises(DeprecationWarning):
        ray.get(warned.remote())
