"""What all tests share: one Ray for the whole session, the shared data folder, and small trained networks."""

import os
import sys
from pathlib import Path

import pytest
import torch

REPOSITORY = Path(__file__).parents[1]
SHARED = REPOSITORY.parent / "shared"

# Modules with base classifiers made for tests (tests/misbehaving.py, ...), importable here and in replicas.
sys.path.insert(0, str(Path(__file__).parent))
os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the checkout."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip(f"{folder} is missing: the real data that this test reads")
    return folder
