"""Manifests of runs that were never drawn, with all that a real one has."""

from typing import Any

from raysmooth.pipeline.store.manifest import run_id

IDENTITY: dict[str, Any] = {
    "scheme": 5,
    "procedure": "certify",
    "dataset": "digits",
    "split": "test",
    "index_set": "all 400",
    "classifier": "digits_cnn",
    "denoiser": "none",
    "classifier_fingerprint": "ab" * 32,
    "denoiser_fingerprint": None,
    "source": None,
    "noise": "gaussian",
    "norm": "l2",
    "sigma": 0.25,
    "sampling": "adaptive:tolerance=2%,pilot=100",
    "n0": 100,
    "n": 10_000,
    "alpha": 0.001,
    "images": 400,
    "data_fingerprint": "cd" * 32,
    "preprocess": "none",
    "seed": 0,
    "block_size": 1000,
    "device": "cpu",
    "threads": 1,
    "batch_size": 50,
    "precision": "float32",
    "compiled": False,
}


def manifest_of(num_classes: int = 6, **identity: Any) -> dict[str, Any]:
    """The manifest of a run whose identity has these changes; None takes a key out."""
    own = {key: value for key, value in {**IDENTITY, **identity}.items() if key not in identity or value is not None}
    return {
        "run_id": run_id(own),
        "identity": own,
        "settings": {"data_root": None, "classifier_weights": None, "denoiser_weights": None, "skip": 1, "max": None},
        "objective": "none",
        "image_shape": [1, 8, 8],
        "num_classes": num_classes,
        "framing": {"resize": None, "crop": None},
        "started": "2026-11-30T12:00:00+00:00",
    }
