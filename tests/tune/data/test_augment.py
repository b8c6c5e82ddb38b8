"""Random changes to training images: hand-checked pieces, their distribution, and their part in a batch."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import ks_2samp
from torchvision.transforms import RandomResizedCrop

from raysmooth.tune.data.augment import AUGMENTATIONS, Augmentation, Moves, PictureAugmentation

SIX_PIXELS = torch.tensor([[[[1, 2, 3], [4, 5, 6]]]], dtype=torch.uint8)


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_moves_worked_out_by_hand() -> None:
    moves = Moves(torch.tensor([0, 1, 2, 0]), torch.tensor([0, 1, 1, 0]), torch.tensor([False, False, True, True]))
    moved = Augmentation(1, True, "").apply(SIX_PIXELS.expand(4, -1, -1, -1), moves)
    assert moved.dtype == torch.uint8
    assert moved[:, 0].tolist() == [
        [[0, 0, 0], [0, 1, 2]],  # down and to the right
        [[1, 2, 3], [4, 5, 6]],  # not moved
        [[6, 5, 4], [0, 0, 0]],  # up, and mirrored
        [[0, 0, 0], [2, 1, 0]],
    ]


@pytest.mark.parametrize("name", [name for name, entry in AUGMENTATIONS.items() if isinstance(entry, Augmentation)])
def test_a_part_of_the_moves_moves_a_part_of_the_batch(name: str) -> None:
    augmentation = AUGMENTATIONS[name]
    assert isinstance(augmentation, Augmentation)
    batch = torch.rand(12, 3, 9, 7, generator=torch.Generator().manual_seed(1))
    whole = augmentation(batch, torch.Generator().manual_seed(2))
    moves = augmentation.sample(12, torch.Generator().manual_seed(2))
    for part in (slice(0, 5), slice(5, 12), slice(3, 4), slice(0, 0)):
        assert torch.equal(augmentation.apply(batch[part], moves[part]), whole[part])
    assert torch.equal(whole, batch) == (name == "none")


def test_a_piece_that_is_the_whole_picture() -> None:
    picture = Image.fromarray(np.arange(16, dtype=np.uint8).reshape(4, 4))
    whole = PictureAugmentation(1.0, 1.0, "")
    pieces = {np.asarray(whole.apply(picture, 4, random(seed))).tobytes() for seed in range(20)}
    assert pieces == {picture.tobytes(), picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).tobytes()}


def test_where_no_piece_fits_it_is_the_middle() -> None:
    # Of the whole area and square: 3 x 3 of 4 x 2 pixels is impossible, the middle square is columns 1 and 2.
    pixels = np.array([[10, 20, 30, 40], [50, 60, 70, 80]], np.uint8)
    piece = PictureAugmentation(1.0, 1.0, "").apply(Image.fromarray(pixels), 2, random())
    assert sorted(np.asarray(piece).tolist()[0]) == [20, 30]
    standing = PictureAugmentation(1.0, 1.0, "").apply(Image.fromarray(pixels.T), 2, random())
    assert sorted(np.asarray(standing).ravel().tolist()) == [20, 30, 60, 70]


def test_a_piece_is_resized_antialiased() -> None:
    pixels = np.array([[0, 100], [40, 60]], np.uint8)
    assert np.asarray(PictureAugmentation(1.0, 1.0, "").apply(Image.fromarray(pixels), 1, random())).tolist() == [[50]]


@pytest.mark.parametrize(("width", "height"), [(50, 40), (40, 50), (400, 50), (30, 100)])
def test_pieces_are_distributed_as_torchvisions(width: int, height: int) -> None:
    entry = AUGMENTATIONS["resized-crop-flip"]
    assert isinstance(entry, PictureAugmentation)
    generator, count = random(), 3000
    ours = np.array([entry._box(width, height, generator) for _ in range(count)], float)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        blank = torch.empty(1, height, width)
        theirs = np.array(
            [RandomResizedCrop.get_params(blank, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(count)], float
        )
    top, left, high, wide = ours.T
    assert (ours[:, :2] >= 0).all()
    assert ((top + high <= height) & (left + wide <= width) & (high > 0) & (wide > 0)).all()
    for column in range(4):
        assert ks_2samp(ours[:, column], theirs[:, column]).pvalue > 1e-3


def test_pieces_are_decided_by_the_generator_and_half_are_mirrored() -> None:
    entry = AUGMENTATIONS["resized-crop-flip"]
    assert isinstance(entry, PictureAugmentation)
    ramp = Image.fromarray(np.tile(np.arange(0, 240, 6, dtype=np.uint8), (30, 1)))
    pieces = [np.asarray(entry.apply(ramp, 8, random(seed))).astype(int) for seed in range(400)]
    assert {piece.shape for piece in pieces} == {(8, 8)}
    assert 150 < sum(piece[0, 0] > piece[0, -1] for piece in pieces) < 250
    assert len({piece.tobytes() for piece in pieces}) > 250
    assert (pieces[7] == np.asarray(entry.apply(ramp, 8, random(7)))).all()
