"""Certified agreement of runs whose images have no labels: how many images are certified as the class that the network,
without noise and without denoiser, gives them. It is agreement, not accuracy: the network may be wrong without noise.

    python benchmarks/clean_agreement.py imagenet-lite [--radii 0,0.0625,0.125,0.25]

Each share has the 95 % interval for images like these, as `raysmooth report` has it for certified accuracy.
"""

import argparse

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from raysmooth.actors.models.answers import read_answer
from raysmooth.actors.models.base_classifier import labels_of
from raysmooth.pipeline.analysis.certificates import read_certificates
from raysmooth.pipeline.analysis.confidence import population_interval
from raysmooth.pipeline.runs.stored_run import StoredRun


@torch.inference_mode()
def clean_labels(run: StoredRun, image_ids: list[int]) -> np.ndarray:
    """The labels (N,) that the run's classifier gives the images without noise and without denoiser."""
    model, dataset = run.load(torch.device("cpu")).model, run.open_dataset()
    found = []
    for image_id in image_ids:
        pixels = torch.from_numpy(dataset.read(image_id).image)[None]
        answer = read_answer(model.classifier(model.normalize(pixels)), pixels)
        found.append(int(labels_of(answer, model.num_classes or answer.shape[1])[0]))
    return np.array(found)


def agreement(certified: np.ndarray, alpha: float) -> str:
    """The share of the images (N,) that are certified, with its interval."""
    _, low, high = population_interval(np.array([certified.sum()]), len(certified), alpha, 0.05)
    return f"{certified.mean():.0%} ({low[0]:.0%}-{high[0]:.0%})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", help="folder of results")
    parser.add_argument("--radii", default="0,0.0625,0.125,0.25")
    arguments = parser.parse_args()
    radii = [float(radius) for radius in arguments.radii.split(",")]
    table = Table("classifier", "denoiser", "sigma", *(f"agreement at {radius:g}" for radius in radii), "abstain")
    for run_id, rows in read_certificates(arguments.results).groupby("run_id", sort=False):
        clean = clean_labels(StoredRun.read(arguments.results, str(run_id)), rows["image_id"].tolist())
        agrees = (rows["prediction"].to_numpy() == clean) & (rows["status"] == "ok").to_numpy()
        radius, first = rows["radius"].fillna(-1.0).to_numpy(), rows.iloc[0]
        cells = [agreement(agrees & (radius >= at), float(first["alpha"])) for at in radii]
        about = (str(first["classifier"]), str(first["denoiser"]), f"{first['sigma']:g}")
        table.add_row(*about, *cells, f"{rows['abstain'].mean():.0%}")
    Console().print(table)


if __name__ == "__main__":
    main()
