"""The replica by itself, without Ray: calls of several units, and memory that is too small."""

import sys
from collections.abc import Iterator

import base_classifiers
import numpy as np
import pytest
import torch

from raysmooth.actors.compute.compute_config import ComputeConfig, ComputeRequest
from raysmooth.actors.models.classifier_spec import BaseClassifierSpec
from raysmooth.actors.noise.role import Role
from raysmooth.actors.noise.streams import Gaussian
from raysmooth.actors.replica.replica import Replica
from raysmooth.actors.replica.sampling import Sampling
from raysmooth.actors.replica.work_unit import Block, WorkUnit
from raysmooth.common.errors import RaysmoothError

SHAPE = (1, 8, 8)
GREY, DARK = np.full(SHAPE, 0.5, np.float32), np.full(SHAPE, 0.05, np.float32)


@pytest.fixture(autouse=True)
def torchs_switches() -> Iterator[None]:
    """Restore them: a replica sets them for its whole process."""
    yield
    torch.use_deterministic_algorithms(False)


def replica_of(name: str, batch_size: int = 40, micro_batch: int | None = None, sigma: float = 0.25) -> Replica:
    compute = ComputeConfig("float32", False, batch_size)
    replica = Replica("cpu", 1)
    spec = BaseClassifierSpec(f"base_classifiers:{name}", trust_code=True)
    replica.prepare([Sampling(spec, compute, Gaussian(sigma), 0, micro_batch)], [SHAPE])
    return replica


def unit_of(*image_ids: int, draws: int = 60) -> WorkUnit:
    return WorkUnit(0, Role.ESTIMATION, tuple(Block(image_id, 0, draws) for image_id in image_ids))


def test_a_failed_unit_leaves_earlier_units_of_its_call_unaffected() -> None:
    replica = replica_of("Fragile", sigma=0.02)
    units, keys = [unit_of(1), unit_of(2), unit_of(1, 3), unit_of(4)], [(0, number) for number in range(1, 5)]
    drawn = replica.draw(units, keys, GREY, GREY, DARK, GREY)
    assert drawn.failed == "ValueError: too dark"
    assert len(drawn.counts) == 2
    for place in range(2):
        (alone,) = replica.draw([units[place]], [keys[place]], GREY).counts
        np.testing.assert_array_equal(drawn.counts[place].counts, alone.counts)
        assert alone.counts.sum() == 60


def test_a_model_that_ends_the_program_fails_its_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    replica = replica_of("Linear")
    monkeypatch.setattr(base_classifiers.Linear, "forward", lambda *_: sys.exit(3))
    assert replica.draw([unit_of(1)], [(0, 1)], GREY).failed == "SystemExit: 3"


def test_images_of_a_call_are_distinguished_by_run_and_number() -> None:
    spec, compute = BaseClassifierSpec("base_classifiers:Labels", trust_code=True), ComputeConfig("float32", False, 20)
    replica = Replica("cpu", 1)
    replica.prepare([Sampling(spec, compute, Gaussian(1e-3), 0)] * 2, [SHAPE] * 2)
    units = [WorkUnit(run, Role.SELECTION, (Block(7, 0, 5), Block(8, 0, 4))) for run in (0, 1)]
    keys = [(1, 8), (0, 7), (1, 7), (0, 8)]
    drawn = replica.draw(units, keys, *(np.full(SHAPE, value, np.float32) for value in (0.15, 0.25, 0.35, 0.45)))
    labels = [{int(row.argmax()): int(row.sum()) for row in counts.counts} for counts in drawn.counts]
    assert labels == [{2: 5, 4: 4}, {3: 5, 1: 4}]


@pytest.mark.parametrize(("limit", "micro_batch"), [(39, 20), (20, 20), (19, 10), (4, 3), (1, 1)])
def test_batches_are_halved_until_they_fit(limit: int, micro_batch: int) -> None:
    """40 -> 20 -> 10 -> 5 -> 3 -> 2 -> 1."""
    call = [unit_of(1, 2)], [(0, 1), (0, 2)], GREY, GREY
    (small,) = replica_of(f"OutOfMemory:limit={limit}").draw(*call).counts
    (whole,) = replica_of("Linear").draw(*call).counts
    assert (small.micro_batch, whole.micro_batch) == (micro_batch, 40)
    np.testing.assert_array_equal(small.counts, whole.counts)
    assert small.counts.sum(axis=1).tolist() == [60, 60]


def test_memory_running_out_in_the_middle_of_a_unit_loses_and_doubles_no_draw(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replica, forward, passes = replica_of("Linear"), base_classifiers.Linear.forward, []

    def scarce(network: base_classifiers.Linear, batch: torch.Tensor) -> torch.Tensor:
        passes.append(len(batch))
        if len(passes) > 2 and len(batch) > 10:
            raise torch.OutOfMemoryError("out of memory")
        return forward(network, batch)

    call = [unit_of(1, 2)], [(0, 1), (0, 2)], GREY, GREY
    (whole,) = replica.draw(*call).counts
    monkeypatch.setattr(base_classifiers.Linear, "forward", scarce)
    (drawn,) = replica.draw(*call).counts
    assert passes[:2] == [40, 40]
    assert drawn.micro_batch == 10
    np.testing.assert_array_equal(drawn.counts, whole.counts)
    # The size found is kept: no larger batch is tried again.
    passes[:] = [0, 0]
    assert replica.draw(*call).counts[0].micro_batch == 10
    assert set(passes[2:]) == {10}


def test_a_resumed_run_starts_with_a_batch_known_to_fit() -> None:
    (drawn,) = replica_of("Linear", micro_batch=10).draw([unit_of(1)], [(0, 1)], GREY).counts
    assert drawn.micro_batch == 10


def test_too_little_memory_for_one_image_is_refused() -> None:
    with pytest.raises(RaysmoothError, match=r"is too small for one image in --batch-size 40: write a smaller one"):
        replica_of("OutOfMemory:limit=0")


def test_a_requested_batch_is_kept_even_if_only_parts_of_it_fit() -> None:
    spec = BaseClassifierSpec("base_classifiers:OutOfMemory:limit=30", trust_code=True)
    replica = Replica("cpu", 1)
    assert replica.choose(spec, SHAPE, ComputeRequest("float32", "off", 100), 1000).compute.batch_size == 100
    # Without a request, the batch fits.
    assert replica.choose(spec, SHAPE, ComputeRequest("float32", "off"), 1000).compute.batch_size <= 30
    with pytest.raises(RaysmoothError, match="too small for one image"):
        replica.choose(
            BaseClassifierSpec("base_classifiers:OutOfMemory:limit=0", trust_code=True),
            SHAPE,
            ComputeRequest("float32"),
            1000,
        )


def test_tf32_on_a_processor_is_refused() -> None:
    with pytest.raises(RaysmoothError, match="precision tf32 needs an NVIDIA GPU"):
        Replica("cpu", 1).choose(
            BaseClassifierSpec("base_classifiers:Linear", trust_code=True), SHAPE, ComputeRequest("tf32"), 1000
        )
