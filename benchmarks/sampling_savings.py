"""Draws saved by `--sampling adaptive` and `--sampling decide`, and their cost, by simulation on the pA of published
certificates:

    python benchmarks/sampling_savings.py --logs DATA/cohen-logs/cifar10 --rows

Each log (idx, label, predict, radius, correct; n = 100,000, alpha = 0.001) gives every image's pA: Phi(radius/sigma),
and 1 if the radius is within 0.002 of the log's largest; abstentions get a uniform one in 0.25-0.5. Labels are then
sampled with that pA, and the rules of pipeline/certification are called as the driver calls them. All draws count: n0,
the pilot and the estimation draws.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import ndtr
from scipy.stats import beta

from raysmooth.actors.noise.role import CERTIFYING
from raysmooth.actors.noise.streams import Gaussian
from raysmooth.pipeline.certification.adaptive import Adaptive, Tolerance, default_pilot
from raysmooth.pipeline.certification.certificate import ABSTAIN, Certificate
from raysmooth.pipeline.certification.sampling_rule import Fixed, SamplingRule
from raysmooth.pipeline.certification.sequential_test import Decide

N0, N, ALPHA = 100, 100_000, 0.001
ASKED = 0.5
"""The radius of `decide`."""
LABELS = 10
RESULTS = Path(__file__).parent / "results" / "sampling-savings.md"


@dataclass(frozen=True)
class Images:
    """`p` is each image's pA, `correct` whether its class is the label, `abstained` whether the log has no certificate
    and `p` is made up; all (images,).
    """

    sigma: float
    p: np.ndarray
    correct: np.ndarray
    abstained: np.ndarray


def read_log(path: Path, sigma: float, generator: np.random.Generator) -> Images:
    log = pd.read_csv(path, sep="\t")
    return images_of(log["radius"].to_numpy(), log["predict"].to_numpy(), log["correct"].to_numpy(), sigma, generator)


def images_of(
    radius: np.ndarray, predict: np.ndarray, correct: np.ndarray, sigma: float, generator: np.random.Generator
) -> Images:
    """Images that match certificates, as the module's docstring describes."""
    abstained = predict == ABSTAIN
    p = np.where(radius >= radius.max() - 0.002, 1.0, ndtr(radius / sigma))
    p[abstained] = generator.uniform(0.25, 0.5, int(abstained.sum()))
    return Images(sigma, p, (correct == 1) & ~abstained, abstained)


def oracle(images: Images, tolerance: float, step: float) -> tuple[float, float]:
    """Shares of the N draws, and of the ACR, of one that knows each pA: the smallest n, in steps of a factor, whose
    radius is within the relative tolerance of that of N if a class gets exactly its share pA; 100 for an abstention.
    """
    sizes = np.unique(np.minimum(200 * step ** np.arange(np.log(N / 200) / np.log(step) + 2), N).astype(int))
    noise, known = Gaussian(images.sigma), ~images.abstained
    bounds = beta.ppf(ALPHA, sizes[:, None] * images.p[known], sizes[:, None] * (1 - images.p[known]) + 1)
    radii = np.vectorize(noise.radius)(bounds)
    chosen = np.argmax(radii >= (1 - tolerance) * radii[-1], axis=0)
    draws = (sizes[chosen].sum() + 100 * images.abstained.sum()) / len(images.p)
    right = images.correct[known]
    return float(draws / N), float(radii[chosen, np.arange(len(chosen))][right].sum() / radii[-1][right].sum())


def ideal_sequential(images: Images) -> float:
    """Mean draws of a test that knows each pA: log(1/alpha) over the divergence from the p0 of ASKED, at most N. No
    test with error probability alpha needs fewer on average, apart from overshoot (Wald 1945).
    """
    p, p0 = images.p, Gaussian(images.sigma).needed(ASKED)
    with np.errstate(divide="ignore", invalid="ignore"):
        divergence = np.where(p < 1, p * np.log(p / p0) + (1 - p) * np.log((1 - p) / (1 - p0)), -np.log(p0))
        return float(np.minimum(-np.log(ALPHA) / divergence, N).mean())


def drive(rule: SamplingRule, p: float, generator: np.random.Generator) -> tuple[int, Certificate]:
    """Draws of an image, and its certificate: class 0 has probability p, the others share the rest."""
    odds = [p, *[(1 - p) / (LABELS - 1)] * (LABELS - 1)]
    counts = {role: np.zeros(LABELS, np.int64) for role in CERTIFYING}
    need = rule.first
    while need is not None:
        for role, draws in need.items():
            counts[role] += generator.multinomial(draws - counts[role].sum(), odds)
        need = rule.next(counts)
    made = sum(int(of_role.sum()) for of_role in counts.values())
    assert made <= rule.n0 + rule.n  # type: ignore[attr-defined]
    certificate = rule.conclude(counts)
    assert isinstance(certificate, Certificate)
    return made, certificate


@dataclass(frozen=True)
class Outcome:
    """Simulated images: draws, radii of correct certificates, whether certified at ASKED; all (images,)."""

    draws: np.ndarray
    radii: np.ndarray
    certified: np.ndarray


def simulate(rule: SamplingRule, images: Images, repeats: int, seed: int) -> Outcome:
    generator = np.random.default_rng(seed)
    results = [drive(rule, p, generator) for _ in range(repeats) for p in images.p]
    correct = np.tile(images.correct, repeats)
    draws, certificates = zip(*results, strict=True)
    radii = np.array([c.radius if c.prediction == 0 else 0.0 for c in certificates])
    return Outcome(np.array(draws), radii * correct, np.array([c.radius >= ASKED for c in certificates]))


def adaptive_rows(images: Images, fixed: Outcome, repeats: int) -> Iterator[dict[str, object]]:
    """Draws and ACR of `adaptive`, and those of the oracle at the same tolerance."""
    for share in (0.02, 0.01):
        rule = Adaptive(N0, N, ALPHA, Gaussian(images.sigma), default_pilot(N), Tolerance(share, "relative"))
        ours = simulate(rule, images, repeats, seed=1)
        published, acr = oracle(images, share, step=1.15)
        exact, _ = oracle(images, share, step=1.005)
        used = ours.draws.mean() / N
        yield {
            "sigma": f"{images.sigma:.2f}",
            "tolerance": str(rule.tolerance),
            "oracle": f"{published:.3f}",
            "its ACR": f"{acr:.3f}",
            "finest oracle": f"{exact:.3f}",
            "adaptive": f"{used:.3f}",
            "ACR": f"{ours.radii.mean() / fixed.radii.mean():.3f}",
            "adaptive/oracle": f"{used / published:.2f}",
            "/finest": f"{used / exact:.2f}",
        }


def equal_row(images: Images, repeats: int) -> dict[str, object]:
    """ACR of `adaptive` (at most 30,000 draws, an absolute tolerance) and of fixed sampling with as many on average."""
    noise, n = Gaussian(images.sigma), 30_000
    rule = Adaptive(N0, n, ALPHA, noise, default_pilot(n), Tolerance.parse("0.015"))
    ours = simulate(rule, images, repeats, seed=2)
    mean = round(ours.draws.mean())
    same = simulate(Fixed(N0, mean - N0, ALPHA, noise), images, repeats, seed=3)
    cohen = simulate(Fixed(N0, 10_000, ALPHA, noise), images, repeats, seed=4)
    return {
        "sigma": f"{images.sigma:.2f}",
        "draws, mean": f"{mean:,}",
        "ACR adaptive": f"{ours.radii.mean():.4f}",
        "ACR fixed, as many": f"{same.radii.mean():.4f}",
        "ACR fixed n=10,000": f"{cohen.radii.mean():.4f}",
    }


def decide_row(images: Images, fixed: Outcome, repeats: int) -> dict[str, object]:
    """Draws of `decide`, and its decisions compared with those of fixed sampling with N separate draws."""
    rule = Decide(N0, N, ALPHA, Gaussian(images.sigma), ASKED)
    ours = simulate(rule, images, repeats, seed=5)
    again = simulate(Fixed(N0, N, ALPHA, rule.noise), images, repeats, seed=6)
    false = ours.certified & (np.tile(images.p, repeats) <= rule.p0)
    return {
        "sigma": f"{images.sigma:.2f}",
        "draws, mean": f"{ours.draws.mean():,.0f}",
        "share of n": f"1/{N / ours.draws.mean():.1f}",
        "ideal test": f"1/{N / ideal_sequential(images):.1f}",
        "median draws": f"{np.median(ours.draws):,.0f}",
        "certified": f"{ours.certified.mean():.4f}",
        "fixed": f"{fixed.certified.mean():.4f}",
        "only decide": f"{(ours.certified & ~fixed.certified).mean():.4f}",
        "only fixed": f"{(~ours.certified & fixed.certified).mean():.4f}",
        "fixed, twice": f"{(again.certified ^ fixed.certified).mean():.4f}",
        "falsely certified": f"{false.sum()} of {len(false):,}",
    }


def section(heading: str, rows: list[dict[str, object]]) -> str:
    return f"{heading}\n\n{pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True)}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logs", type=Path, required=True, help="folder of sigma_*.tsv")
    parser.add_argument("--sigma", default="0.25,0.50", help="noise levels of the logs")
    parser.add_argument("--repeats", type=int, default=20, help="how often each image of a log is simulated")
    parser.add_argument("--rows", action="store_true", help=f"write the tables to benchmarks/results/{RESULTS.name}")
    given = parser.parse_args()
    adaptive, equal, decisions = [], [], []
    for sigma in given.sigma.split(","):
        images = read_log(given.logs / f"sigma_{sigma}.tsv", float(sigma), np.random.default_rng(0))
        fixed = simulate(Fixed(N0, N, ALPHA, Gaussian(float(sigma))), images, given.repeats, seed=0)
        adaptive += adaptive_rows(images, fixed, given.repeats)
        equal.append(equal_row(images, given.repeats))
        decisions.append(decide_row(images, fixed, given.repeats))
    text = "\n".join(
        [
            f"Simulated on the pA of `{given.logs.name}` ({given.repeats} times {len(images.p)} images per sigma), "
            f"n = {N:,}, alpha = {ALPHA}; all draws count, n0 = {N0} and the pilot among them.\n",
            "```bash\npython benchmarks/sampling_savings.py --logs DATA/cohen-logs/cifar10 --rows\n```\n",
            section(
                "**adaptive**: draws as shares of n, ACR as shares of that of fixed sampling with n. The oracle knows "
                "each pA and takes the smallest n within the tolerance, of sizes 15 % apart; the finest oracle, of "
                "sizes 0.5 % apart.",
                adaptive,
            ),
            section(
                "**adaptive at an equal mean number of draws** (n = 30,000, tolerance 0.015, in pixel units).", equal
            ),
            section(
                f"**decide** at r = {ASKED}. The ideal test knows each pA, makes log(1/alpha)/KL draws and no n0. "
                "'only decide', 'only fixed': certified by one alone; 'fixed, twice': two runs of fixed sampling, the "
                "same images and other draws, differ on as many.",
                decisions,
            ),
        ]
    )
    print(text)
    if given.rows:
        RESULTS.write_text(text)


if __name__ == "__main__":
    main()
