"""Seconds of the first and the second call in one program: `certify` on Ray, kept up by `session`, and `certify_model`.

    python benchmarks/second_call.py [--n 1000] [--images 100]

Both certify the same digits with the same classifier, batches and precision, each on one CPU thread, with another seed
in each call, so that none finds finished rows. Their certificates are compared.
"""

import argparse
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

import raysmooth
from raysmooth.actors.models.classifiers import build_classifier
from raysmooth.actors.models.weights import save_weights
from raysmooth.common.variant import Variant
from raysmooth.pipeline.data.datasets import open_dataset


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--images", type=int, default=100)
    asked = parser.parse_args()
    torch.manual_seed(0)
    network = build_classifier(Variant("digits_cnn")).eval()
    digits = open_dataset("digits", None)
    examples = [digits.read(image_id) for image_id in range(asked.images)]
    images = torch.stack([torch.from_numpy(one.image) for one in examples])
    labels = [one.label for one in examples]
    settings: dict[str, Any] = {
        "sigma": 0.25,
        "n": asked.n,
        "batch_size": 250,
        "precision": "float32",
        "progress": False,
    }
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "digits.safetensors"
        save_weights(weights, network, {})
        by_name: dict[str, Any] = {
            "dataset": "digits",
            "classifier": "digits_cnn",
            "classifier_weights": weights,
            "compile": "off",
        }
        by_name |= {"max": asked.images, "replicas": 1, "out": Path(folder) / "results", "gpus_per_replica": 0}
        print("| call | first (s) | second (s) |\n|:--|--:|--:|")
        found = []
        with raysmooth.session("local"):
            took = []
            for seed in (0, 1):
                began = perf_counter()
                found.append(raysmooth.certify(**by_name, **settings, seed=seed))
                took.append(perf_counter() - began)
        print(f"| certify, Ray kept up | {took[0]:.2f} | {took[1]:.2f} |")
        took = []
        for seed in (0, 1):
            began = perf_counter()
            rows = raysmooth.certify_model(network, images, labels, threads=1, seed=seed, **settings)
            took.append(perf_counter() - began)
            if not rows["radius"].equals(found[seed]["radius"]):
                raise AssertionError("the certificates differ")
        print(f"| certify_model | {took[0]:.2f} | {took[1]:.2f} |")


if __name__ == "__main__":
    main()
