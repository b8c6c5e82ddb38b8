"""Where Ray's workers look for modules: not in the folder that the driver stands in, except last, for own models."""

import os
from pathlib import Path

from ray.job_config import JobConfig


class WorkersOwnPath(JobConfig):
    """Ray puts the driver's working directory first on its workers' sys.path, where its json.py or torch.py would be
    imported instead of the real one. This leaves it out; the folder of a script that runs as the driver stays, as
    Python itself has it first.
    """

    def _serialize(self) -> str:
        folders = self._py_driver_sys_path
        here = os.path.abspath(os.path.curdir)
        if folders and folders[-1] == here and not _raysmooth_is_only(here):
            folders.pop()
        return super()._serialize()


def _raysmooth_is_only(here: str) -> bool:
    """Whether workers may find raysmooth only in the folder `here`: a checkout that is perhaps not installed."""
    given = [os.path.abspath(path) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    return Path(__file__).parents[3] == Path(here) and here not in given
