"""Units of a search of noise levels, by the replica itself, without Ray: memory, failures, refused classifiers."""

from collections.abc import Sequence

import base_classifiers
import numpy as np
import pytest
import torch
from closed_forms import found_by, network_of

from raysmooth.actors.compute.compute_config import ComputeConfig
from raysmooth.actors.models.classifier_spec import BaseClassifierSpec
from raysmooth.actors.noise.role import Role
from raysmooth.actors.noise.streams import Gaussian
from raysmooth.actors.replica.replica import Replica
from raysmooth.actors.replica.sampling import Sampling
from raysmooth.actors.replica.work_unit import Block, UnitCounts, UnitSigmas, WorkUnit
from raysmooth.actors.sigma_search.searches import read_search
from raysmooth.common.errors import RaysmoothError

SHAPE = (1, 8, 8)
PICTURES = np.random.default_rng(2).random((3, *SHAPE), dtype=np.float32)
DDRS = "ddrs:steps=6,learning_rate=0.01,draws=4"


def replica_of(
    name: str, search: str = DDRS, rejector: str = "none", sigma: float = 0.25, batch_size: int = 16
) -> Replica:
    replica, canonical = Replica("cpu", 1), str(read_search(search)[0])
    spec = BaseClassifierSpec(f"base_classifiers:{name}", trust_code=True, rejector=rejector)
    compute = ComputeConfig("float32", False, batch_size)
    replica.prepare([Sampling(spec, compute, Gaussian(sigma), 5, None, canonical)], [SHAPE])
    return replica


def searched(replica: Replica, images: Sequence[np.ndarray] = PICTURES, ids: Sequence[int] = (4, 8, 9)) -> UnitSigmas:
    unit = WorkUnit(0, Role.OPTIMISATION, tuple(Block(image_id, 0, 72) for image_id in ids))
    drawn = replica.draw([unit], [(0, image_id) for image_id in ids], *images)
    assert drawn.failed is None
    (found,) = drawn.counts
    assert isinstance(found, UnitSigmas)
    return found


@pytest.mark.parametrize("search", [DDRS, "grid:levels=3,draws=11", "selector:n0=9,n=30"])
def test_a_unit_has_the_levels_of_its_images(search: str) -> None:
    found = searched(replica_of("Linear", search))
    expected = found_by(
        search, base_classifiers.Linear(), torch.from_numpy(PICTURES), ids=[4, 8, 9], batch_size=16, seed=5
    )
    np.testing.assert_allclose(found.sigmas, expected.sigmas, rtol=1e-9)
    np.testing.assert_allclose(found.objectives, expected.objectives, rtol=1e-6)
    np.testing.assert_array_equal(found.classes, expected.classes)
    np.testing.assert_array_equal(found.radii, expected.radii)
    assert found.failed == (None, None, None)
    assert found.micro_batch == 16
    assert found.seconds > 0


@pytest.mark.parametrize(("limit", "micro_batch"), [(15, 8), (5, 4), (1, 1)])
def test_forward_passes_are_halved_until_they_fit(limit: int, micro_batch: int) -> None:
    for search in (DDRS, "selector:n0=9,n=30"):
        whole, small = (searched(replica_of(name, search)) for name in ("Linear", f"OutOfMemory:limit={limit}"))
        assert (whole.micro_batch, small.micro_batch) == (16, micro_batch)
        np.testing.assert_allclose(small.sigmas, whole.sigmas, rtol=1e-6)
    with pytest.raises(RaysmoothError, match="too small for one image in --batch-size 16"):
        replica_of("OutOfMemory:limit=0")


def test_memory_running_out_in_the_middle_of_a_search_starts_it_over(monkeypatch: pytest.MonkeyPatch) -> None:
    replica, forward, passes = replica_of("Linear"), base_classifiers.Linear.forward, []
    whole = searched(replica)

    def scarce(network: base_classifiers.Linear, batch: torch.Tensor) -> torch.Tensor:
        passes.append(len(batch))
        if len(passes) > 3 and len(batch) > 8:
            raise torch.OutOfMemoryError("out of memory")
        return forward(network, batch)

    monkeypatch.setattr(base_classifiers.Linear, "forward", scarce)
    found = searched(replica)
    assert passes[:4] == [16] * 4
    assert found.micro_batch == 8
    np.testing.assert_allclose(found.sigmas, whole.sigmas, rtol=1e-6)


def test_an_image_without_finite_logits_fails_and_its_neighbours_do_not() -> None:
    images = [PICTURES[0], np.full(SHAPE, 0.99, np.float32), PICTURES[2]]
    found, expected = searched(replica_of("Dazzled"), images), searched(replica_of("Linear"))
    assert [reason is None for reason in found.failed] == [True, False, True]
    np.testing.assert_allclose(found.sigmas[::2], expected.sigmas[::2], rtol=1e-6)


def test_an_exception_of_the_classifier_is_that_of_the_unit() -> None:
    replica = replica_of("Fragile", sigma=0.02)
    unit = WorkUnit(0, Role.OPTIMISATION, (Block(4, 0, 72), Block(8, 0, 72)))
    drawn = replica.draw([unit], [(0, 4), (0, 8)], PICTURES[0], np.full(SHAPE, 0.05, np.float32))
    assert (drawn.counts, drawn.failed) == ([], "ValueError: too dark")


@pytest.mark.parametrize(
    ("name", "search", "rejector", "reason"),
    [
        ("Labels", DDRS, "none", "this classifier answers labels: write --search grid"),
        ("Labels", f"{DDRS},gradient=difference", "none", "this classifier answers labels: write --search grid"),
        ("Labels", "selector:n0=9,n=30", "none", "this classifier answers labels: write --search grid"),
        ("without_gradients", DDRS, "none", "write --search ddrs:gradient=difference, or --search grid"),
        ("Linear", DDRS, "confidence:threshold=0.5", "without --rejector: leave it out of the search"),
    ],
)
def test_a_classifier_that_the_search_cannot_use_is_refused_before_it(
    name: str, search: str, rejector: str, reason: str
) -> None:
    with pytest.raises(RaysmoothError) as refusal:
        replica_of(name, search, rejector=rejector)
    assert reason in str(refusal.value)


def test_classifiers_without_gradients_have_their_searches() -> None:
    by_difference = searched(replica_of("without_gradients", f"{DDRS},gradient=difference"))
    np.testing.assert_allclose(by_difference.sigmas, searched(replica_of("Linear")).sigmas, rtol=1e-3)
    assert searched(replica_of("Labels", "grid:levels=3,draws=11")).failed == (None, None, None)


def test_runs_of_both_kinds_share_a_replica_and_its_speed_is_in_passes() -> None:
    spec, compute = BaseClassifierSpec("base_classifiers:Linear", trust_code=True), ComputeConfig("float32", False, 16)
    replica = Replica("cpu", 1)
    samplings = [Sampling(spec, compute, Gaussian(0.25), 5, None, search) for search in (None, DDRS)]
    replica.prepare(samplings, [SHAPE] * 2)
    units = [WorkUnit(run, role, (Block(4, 0, 10),)) for run, role in ((0, Role.SELECTION), (1, Role.OPTIMISATION))]
    drawn = replica.draw(units, [(0, 4), (1, 4)], PICTURES[0], PICTURES[0])
    assert [type(one) for one in drawn.counts] == [UnitCounts, UnitSigmas]
    assert replica.measure(1, SHAPE, 0.01) > 0


def test_folding_keeps_the_levels() -> None:
    """A network with BatchNorm is searched with it folded; the spec's own network stays as it is."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 3)
    ).eval()
    network[1].running_mean.normal_()
    network[1].running_var.uniform_(0.5, 2)
    pixels = torch.from_numpy(PICTURES)
    search_network = network_of(network, DDRS)
    torch.testing.assert_close(search_network.logits(pixels).float(), network(pixels), rtol=1e-5, atol=1e-5)
    assert isinstance(network[1], torch.nn.BatchNorm2d)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in search_network._network.modules())
