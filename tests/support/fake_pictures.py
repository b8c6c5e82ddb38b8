"""Pictures for fake APIs, and a trained network to classify them."""

import io
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image


def png(pixels: np.ndarray) -> bytes:
    """A file of uint8 pixels (H, W, C), with 1 or 3 channels."""
    buffer = io.BytesIO()
    Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels).save(buffer, "png", compress_level=1)
    return buffer.getvalue()


def plain(red: int, green: int, blue: int, side: int = 8) -> bytes:
    """A picture of one colour."""
    return png(np.full((side, side, 3), (red, green, blue), np.uint8))


@cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    """All digits of scikit-learn as uint8 pixels (N, 8, 8, 1), and their labels."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return np.rint(images.reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8), labels


@cache
def trained_digits_cnn(folder: Path) -> Path:
    """Weights of a `digits_cnn` that knows nine of ten digits behind noise of 0.25: random convolutions, and a last
    layer by ridge regression, which takes a tenth of a second.
    """
    import torch

    from raysmooth.actors.models.networks.digits import digits_cnn
    from raysmooth.actors.models.weights import save_weights

    torch.manual_seed(0)
    images, labels = digits()
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).repeat(4, 1, 1, 1) / 255
    wanted = torch.nn.functional.one_hot(torch.from_numpy(labels).repeat(4), 10) - 0.1
    network = digits_cnn()
    with torch.no_grad():
        features = network[:-1](pixels + 0.25 * torch.randn(pixels.shape))
        features = torch.cat([features, torch.ones(len(features), 1)], dim=1).double()
        gram = features.T @ features + 0.1 * torch.eye(features.shape[1])
        solved = 10 * torch.linalg.solve(gram, features.T @ wanted.double())
        network[-1].weight.copy_(solved[:-1].T)
        network[-1].bias.copy_(solved[-1])
    path = folder / "digits_cnn.safetensors"
    save_weights(path, network, {"architecture": "digits_cnn"})
    return path
