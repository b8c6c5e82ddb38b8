"""Counts of a work unit against a computation that shares no code with ours."""

import base_classifiers
import numpy as np
import pytest
import torch

from actors.base_classifier import INVALID, DenoisedClassifier
from actors.draws import WorkUnit, draw
from actors.noise import Gaussian, Role

CPU = torch.device("cpu")


def denoised(classifier: object) -> DenoisedClassifier:
    return DenoisedClassifier(None, torch.nn.Identity(), classifier)


def pictures(count: int, seed: int = 0) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).random((count, 1, 8, 8), dtype=np.float32))


def by_hand(image: np.ndarray, key: tuple[int, Role, int, int], draws: int, sigma: float) -> np.ndarray:
    """Noise from numpy's own streams, a matrix product, numpy's counting. The 8x8 image has one channel, so that the
    order of its pixels in memory is the same in any layout.
    """
    seed, role, image_id, block = key
    generator = np.random.Generator(np.random.SFC64(np.random.SeedSequence(seed, spawn_key=(role, image_id, block))))
    noise = generator.standard_normal((draws, 64), dtype=np.float32)
    weight = torch.randn(10, 64, generator=torch.Generator().manual_seed(3)).numpy()
    logits = (image.reshape(1, 64) + np.float32(sigma) * noise).astype(np.float64) @ weight.T.astype(np.float64)
    return np.bincount(logits.argmax(axis=1), minlength=10)


@pytest.mark.parametrize("batch_size", [7, 64, 250, 1000])
@pytest.mark.parametrize("role", Role)
def test_counts_are_those_of_an_independent_computation(role: Role, batch_size: int) -> None:
    images = pictures(5)
    unit = WorkUnit(0, role, 4, (11, 12, 13, 20, 21), 93)
    drawn = draw(
        unit, images, denoised(base_classifiers.Linear()), Gaussian(0.5), seed=9, batch_size=batch_size, device=CPU
    )
    for place, image_id in enumerate(unit.image_ids):
        expected = by_hand(images[place], (9, role, image_id, 4), 93, 0.5)
        np.testing.assert_array_equal(drawn.counts[place], expected)
    assert (drawn.counts.sum(axis=1) == 93).all()
    assert not drawn.invalid.any()
    assert drawn.seconds > 0


def test_every_forward_pass_has_the_same_shape_and_padding_is_not_counted() -> None:
    shapes = []

    class Watching(base_classifiers.Linear):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            shapes.append(tuple(batch.shape))
            return super().forward(batch)

    unit = WorkUnit(0, Role.ESTIMATION, 0, (0, 1, 2), 35)
    drawn = draw(unit, pictures(3), denoised(Watching()), Gaussian(1.0), seed=0, batch_size=50, device=CPU)
    assert shapes == [(50, 1, 8, 8)] * 3
    assert drawn.counts.sum() == 105


def test_logits_that_are_not_finite_are_counted_apart() -> None:
    images = [np.full((1, 8, 8), value, np.float32) for value in (0.5, 1.0, 0.9)]
    unit = WorkUnit(0, Role.ESTIMATION, 0, (0, 1, 2), 40)
    drawn = draw(unit, images, denoised(base_classifiers.Fragile()), Gaussian(1e-3), seed=0, batch_size=16, device=CPU)
    assert drawn.invalid.tolist() == [0, 40, 40]
    assert drawn.counts.sum(axis=1).tolist() == [40, 0, 0]


def test_a_colour_image_gets_its_own_noise_in_every_pixel() -> None:
    seen = []

    class Watching(base_classifiers.Linear):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            seen.append(batch.clone())
            return super().forward(batch)

    image = np.random.default_rng(1).random((3, 8, 8), dtype=np.float32)
    unit = WorkUnit(0, Role.ESTIMATION, 0, (0,), 600)
    draw(unit, [image], denoised(Watching(pixels=192)), Gaussian(0.1), seed=0, batch_size=600, device=CPU)
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
