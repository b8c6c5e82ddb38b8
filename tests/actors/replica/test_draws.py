"""Counts of a work unit, compared with a computation that shares no code with ours."""

import base_classifiers
import numpy as np
import pytest
import torch

from raysmooth.actors.models.base_classifier import INVALID, BaseClassifier, DenoisedClassifier
from raysmooth.actors.models.rejection_rules import LowConfidence
from raysmooth.actors.noise.role import Role
from raysmooth.actors.noise.streams import Gaussian, NoiseFamily
from raysmooth.actors.replica.draws import draw
from raysmooth.actors.replica.work_unit import Block, UnitCounts, WorkUnit

CPU = torch.device("cpu")


def denoised(classifier: object) -> DenoisedClassifier:
    return DenoisedClassifier(None, torch.nn.Identity(), classifier)


def pictures(count: int, seed: int = 0) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).random((count, 1, 8, 8), dtype=np.float32))


def drawn_by(
    unit: WorkUnit,
    images: list[np.ndarray],
    classify: BaseClassifier,
    noise: NoiseFamily,
    batch_size: int,
    seed: int = 0,
    micro_batch: int | None = None,
) -> UnitCounts:
    named = dict(zip(unit.image_ids, images, strict=True))
    return draw(unit, named, classify, noise, seed=seed, batch_size=batch_size, device=CPU, micro_batch=micro_batch)


def unit_of(*image_ids: int, draws: int, block: int = 0, role: Role = Role.ESTIMATION) -> WorkUnit:
    return WorkUnit(0, role, tuple(Block(image_id, block, draws) for image_id in image_ids))


def normals(key: tuple[int, Role, int, int], count: int) -> np.ndarray:
    """Box-Muller normals from numpy's Mersenne Twister, in groups of sixteen: eight radii, eight angles."""
    seed, role, image_id, block = key
    twister = np.random.MT19937(np.random.SeedSequence(seed, spawn_key=(role, image_id, block)))
    twister.random_raw(1)  # numpy first returns the last word of its key
    uniform = (twister.random_raw(count) & 0xFFFFFF).reshape(-1, 2, 8) / 2.0**24
    length, angle = np.sqrt(-2 * np.log(1 - uniform[:, 0])), 2 * np.pi * uniform[:, 1]
    return np.stack([length * np.cos(angle), length * np.sin(angle)], axis=1).reshape(-1)


def by_hand(image: np.ndarray, key: tuple[int, Role, int, int], draws: int, sigma: float) -> np.ndarray:
    """Noise from numpy, a matrix product, numpy's counting. The 8x8 image has one channel, so that the order of its
    pixels in memory is the same in any layout.
    """
    noise = normals(key, draws * 64).reshape(draws, 64)
    weight = torch.randn(10, 64, generator=torch.Generator().manual_seed(3)).numpy()
    logits = (image.reshape(1, 64) + sigma * noise) @ weight.T.astype(np.float64)
    return np.bincount(logits.argmax(axis=1), minlength=10)


@pytest.mark.parametrize("batch_size", [7, 64, 250, 1000])
@pytest.mark.parametrize("role", Role)
def test_counts_are_those_of_an_independent_computation(role: Role, batch_size: int) -> None:
    images = pictures(5)
    unit = unit_of(11, 12, 13, 20, 21, draws=93, block=4, role=role)
    drawn = drawn_by(unit, images, denoised(base_classifiers.Linear()), Gaussian(0.5), batch_size, seed=9)
    for place, image_id in enumerate(unit.image_ids):
        expected = by_hand(images[place], (9, role, image_id, 4), 93, 0.5)
        np.testing.assert_array_equal(drawn.counts[place], expected)
    assert (drawn.counts.sum(axis=1) == 93).all()
    assert not drawn.invalid.any()
    assert drawn.seconds > 0


def test_blocks_of_one_image_and_of_unequal_size_share_a_unit() -> None:
    images = pictures(2)
    unit = WorkUnit(0, Role.ESTIMATION, (Block(5, 0, 120), Block(5, 1, 31), Block(6, 7, 200)))
    drawn = drawn_by(unit, images, denoised(base_classifiers.Linear()), Gaussian(0.5), 64)
    for place, block in enumerate(unit.blocks):
        expected = by_hand(
            images[block.image_id - 5], (0, Role.ESTIMATION, block.image_id, block.index), block.draws, 0.5
        )
        np.testing.assert_array_equal(drawn.counts[place], expected)


def test_forward_passes_have_few_shapes_and_padding_is_not_counted() -> None:
    shapes = []

    class Watching(base_classifiers.Linear):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            shapes.append(tuple(batch.shape))
            return super().forward(batch)

    drawn = drawn_by(unit_of(0, 1, 2, draws=35), pictures(3), denoised(Watching()), Gaussian(1.0), 50)
    assert shapes == [(50, 1, 8, 8)] * 2 + [(7, 1, 8, 8)]  # an eighth of a batch holds the rest
    assert drawn.counts.sum() == 105
    shapes.clear()
    compiled = denoised(Watching())
    compiled.fixed_shape = True
    drawn = drawn_by(unit_of(0, 1, 2, draws=35), pictures(3), compiled, Gaussian(1.0), 50)
    assert shapes == [(50, 1, 8, 8)] * 3
    assert drawn.counts.sum() == 105


@pytest.mark.parametrize("micro_batch", [1, 7, 25, 49, 50])
def test_parts_of_a_batch_have_the_noise_of_the_whole(micro_batch: int) -> None:
    """With too little memory: the same noisy images, in smaller forward passes."""
    seen: list[torch.Tensor] = []

    class Watching(base_classifiers.Linear):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            seen.append(batch.clone())
            return super().forward(batch)

    unit, images = unit_of(0, 1, 2, draws=37), pictures(3)
    whole = drawn_by(unit, images, denoised(Watching()), Gaussian(1.0), 50)
    in_one = torch.cat(seen)[:111]  # in batches of 50, 50 and 13
    seen.clear()
    parted = drawn_by(unit, images, denoised(Watching()), Gaussian(1.0), 50, micro_batch=micro_batch)
    assert {len(part) for part in seen} == {micro_batch, min(micro_batch, 13)}
    assert (whole.micro_batch, parted.micro_batch) == (50, micro_batch)
    per_batch = -(-50 // micro_batch)  # the last part of a batch is padded with blank images
    batches = [torch.cat(seen[start : start + per_batch])[:50] for start in (0, per_batch, 2 * per_batch)]
    torch.testing.assert_close(torch.cat(batches)[:111], in_one, rtol=0, atol=0)
    np.testing.assert_array_equal(parted.counts, whole.counts)


def test_logits_that_are_not_finite_are_counted_separately() -> None:
    images = [np.full((1, 8, 8), value, np.float32) for value in (0.5, 1.0, 0.9)]
    drawn = drawn_by(unit_of(0, 1, 2, draws=40), images, denoised(base_classifiers.Fragile()), Gaussian(1e-3), 16)
    assert drawn.invalid.tolist() == [0, 40, 40]
    assert drawn.counts.sum(axis=1).tolist() == [40, 0, 0]


def test_every_value_of_a_colour_image_gets_its_own_noise() -> None:
    seen = []

    class Watching(base_classifiers.Linear):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            seen.append(batch.clone())
            return super().forward(batch)

    image = np.random.default_rng(1).random((3, 8, 8), dtype=np.float32)
    drawn_by(unit_of(0, draws=600), [image], denoised(Watching(pixels=192)), Gaussian(0.1), 600)
    noise = seen[0].numpy() - image
    assert noise.shape == (600, 3, 8, 8)
    assert np.abs(noise.mean(axis=0)).max() < 0.1 * 5 / np.sqrt(600)
    assert np.abs(noise.std(axis=0) / 0.1 - 1).max() < 0.2
    assert len(np.unique(noise)) > 0.99 * noise.size


def test_labels_of_an_api_and_labels_outside_its_classes() -> None:
    class Outside(base_classifiers.Labels):
        def __call__(self, batch: torch.Tensor) -> torch.Tensor:
            return torch.where(batch.flatten(1).mean(dim=1) > 0.9, 10, super().__call__(batch))

    answer = denoised(Outside())(torch.stack([torch.full((1, 8, 8), value) for value in (0.05, 0.55, 1.0)]))
    assert answer.tolist() == [0, 5, INVALID]


class Doubtful(base_classifiers.Linear):
    """Logits of which many are close to each other."""

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return 0.2 * super().forward(batch)


def test_kept_and_rejected_draws_are_those_of_the_run_without_a_rejector() -> None:
    unit, images = unit_of(0, 1, 2, draws=150), pictures(3)
    plain = drawn_by(unit, images, denoised(Doubtful()), Gaussian(0.25), 100)
    counts = {}
    for threshold in (0.0, 0.5, 1.0):
        model = DenoisedClassifier(None, torch.nn.Identity(), Doubtful(), LowConfidence(threshold))
        drawn = drawn_by(unit, images, model, Gaussian(0.25), 100)
        assert drawn.counts.shape == (3, 20)
        kept, rejected = counts[threshold] = drawn.counts[:, :10], drawn.counts[:, 10:]
        assert (kept + rejected == plain.counts).all()
        assert (drawn.invalid == plain.invalid).all()
    assert not counts[0.0][1].any()
    assert not counts[1.0][0].any()
    assert all(part.sum() > 50 for part in counts[0.5])


def test_every_draw_keeps_its_class(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not only their numbers: the labels of the same noise, one by one."""
    seen: dict[bool, list[torch.Tensor]] = {False: [], True: []}

    def recorded(model: DenoisedClassifier) -> BaseClassifier:
        forward, labels = model.forward, seen[model.rejector is not None]

        def record(batch: torch.Tensor) -> torch.Tensor:
            labels.append(forward(batch))
            return labels[-1]

        monkeypatch.setattr(model, "forward", record)
        return model

    for rejector in (None, LowConfidence(0.5)):
        model = DenoisedClassifier(None, torch.nn.Identity(), Doubtful(), rejector)
        drawn_by(unit_of(0, 1, draws=130), pictures(2), recorded(model), Gaussian(0.25), 50)
    without, with_rejector = torch.cat(seen[False]), torch.cat(seen[True])
    assert torch.equal(with_rejector % 10, without)
    assert 0 < int((with_rejector >= 10).sum()) < len(with_rejector)
