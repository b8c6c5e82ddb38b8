"""Savings and costs of `--sampling` in real runs at one sigma, compared with fixed sampling with n = 100,000:

    raysmooth certify ... --sigma 0.5 --n 100000 --out OUT
    raysmooth certify ... --sigma 0.5 --n 100000 --sampling adaptive --out OUT    (and any others)
    python benchmarks/sampling_runs.py OUT --rows

The oracle is that of `sampling_savings.py`, with each image's pA as the fixed run with n = 100,000 found it.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from sampling_savings import ASKED, N, images_of, oracle

from raysmooth.pipeline.analysis.metrics import average_certified_radius
from raysmooth.pipeline.report.report import read_certificates

RESULTS = Path(__file__).parent / "results" / "sampling-runs.md"


def run_row(rows: pd.DataFrame, full: pd.DataFrame) -> dict[str, str]:
    """One run compared with the `full` one, whose rows are in the same order."""
    acr, reference = average_certified_radius(rows), average_certified_radius(full)
    decided = rows["sampling"].iloc[0].startswith("decide")
    at, theirs = (frame["radius"].to_numpy() >= ASKED for frame in (rows, full))
    return {
        "sampling": rows["sampling"].iloc[0],
        "n": f"{rows['n'].iloc[0]:,}",
        "draws per image": f"{rows['draws'].mean():,.0f}",
        "of n = 100,000": f"{rows['draws'].mean() / full['draws'].mean():.3f}",
        "ACR": "" if decided else f"{acr:.4f}",
        "its share": "" if decided else f"{acr / reference:.3f}",
        f"right and certified at {ASKED}": f"{(at & rows['correct'].eq(True).to_numpy()).mean():.1%}",
        "only here, images": f"{(at & ~theirs).sum()}",
        "only there, images": f"{(~at & theirs).sum()}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder of the runs' results")
    parser.add_argument("--rows", action="store_true", help=f"write the tables to benchmarks/results/{RESULTS.name}")
    given = parser.parse_args()
    rows = read_certificates(given.out).sort_values("image_id")
    runs = dict(list(rows.groupby("run_id")))
    full = next(own for own in runs.values() if own["sampling"].iloc[0] == "fixed" and own["n"].iloc[0] == N)
    table = pd.DataFrame([run_row(own, full) for own in runs.values()]).sort_values(["sampling", "n"])
    sigma = float(full["sigma"].iloc[0])
    images = images_of(
        full["radius"].to_numpy(),
        full["prediction"].to_numpy(),
        full["correct"].to_numpy(int),
        sigma,
        np.random.default_rng(0),
    )
    oracles = []
    for tolerance in (0.02, 0.01):
        draws, acr = oracle(images, tolerance, step=1.15)
        finest, _ = oracle(images, tolerance, step=1.005)
        oracles.append(
            {
                "tolerance": f"{tolerance:.0%}",
                "oracle": f"{draws:.3f}",
                "its ACR": f"{acr:.3f}",
                "finest": f"{finest:.3f}",
            }
        )
    first = full.iloc[0]
    text = "\n\n".join(
        [
            f"`{first['classifier']}` ({first['objective']}) on {first['dataset']}, {first['index_set']}, "
            f"sigma {sigma:g}, alpha = {first['alpha']:g}. All draws count. 'only here' and 'only there': images "
            f"certified at r = {ASKED} by this run alone, or by fixed sampling with n = 100,000 alone.",
            table.to_markdown(index=False, disable_numparse=True),
            "Shares of the draws of n = 100,000 that an oracle needs, given each pA:",
            pd.DataFrame(oracles).to_markdown(index=False, disable_numparse=True),
        ]
    )
    print(text)
    if given.rows:
        RESULTS.write_text(text + "\n")


if __name__ == "__main__":
    main()
