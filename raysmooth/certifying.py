"""The Python API of certifying: what draws, and what makes rows from stored counts and from logs."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from raysmooth.common.spelling import in_keywords

if TYPE_CHECKING:
    import pandas as pd

    from raysmooth.pipeline.ray_cluster.ray_session import Session
    from raysmooth.storage.location import Where


@in_keywords
def certify(config: str | Path | None = None, *, progress: bool = True, **settings: Any) -> "pd.DataFrame":
    """Certify images with CERTIFY (Cohen et al. 2019), with a denoiser in front of the classifier if one is named.

    Keyword arguments are the fields of `CertifySettings`, which are the flags of `raysmooth certify`; they override
    `config`, a YAML file of the same fields. A list may be a tuple or a one-dimensional array of float64. Calling it
    again with the same arguments resumes the run. Without `progress` nothing is printed, and warnings are Python
    warnings.

    Returns one row per image and sigma, sorted by image: image_id, label, prediction, radius, correct, ... first, the
    facts of the run last. An image that failed is a row with `status` "error"; a Python warning says how many failed,
    the most frequent reason, and the first image. Raises RaysmoothError for settings that cannot work, before Ray
    starts, and if the run has to stop; finished images stay on disk.

    >>> rows = certify(dataset="digits", classifier="digits_cnn", classifier_weights="digits.safetensors", sigma=0.25)
    """
    return _run_procedure("certify", config, settings, progress)


@in_keywords
def predict(config: str | Path | None = None, *, progress: bool = True, **settings: Any) -> "pd.DataFrame":
    """Predict images with the smoothed classifier, by PREDICT (Cohen et al. 2019).

    Keyword arguments are the fields of `PredictSettings`; otherwise like `certify`.
    """
    return _run_procedure("predict", config, settings, progress)


@in_keywords
def optimize_sigma(config: str | Path | None = None, *, progress: bool = True, **settings: Any) -> "pd.DataFrame":
    """Find a noise level for each image, at which its certified radius is large (data-dependent smoothing of Alfarra et
    al.), for `certify(..., sigmas=run_id)`.

    Keyword arguments are the fields of `OptimizeSigmaSettings`; otherwise like `certify`. Returns one row per image,
    sigma and step kept: image_id, label, step, prediction, radius, image_sigma, objective_value, ... first.

    >>> levels = optimize_sigma(dataset="digits", classifier="digits_cnn", sigma=0.25, search="grid:levels=8")
    """
    from raysmooth.common.settings import user_settings
    from raysmooth.pipeline.analysis.failures import failures
    from raysmooth.pipeline.drawing.finished_runs import stored_rows
    from raysmooth.pipeline.drawing.found_levels import last_rows
    from raysmooth.pipeline.drawing.run_search import run_search
    from raysmooth.pipeline.runs.search_procedure import OPTIMIZE_SIGMA
    from raysmooth.rows import in_reading_order, warn_of_failures

    asked = user_settings(OPTIMIZE_SIGMA.settings, settings, config)
    rows = stored_rows(OPTIMIZE_SIGMA, [asked], [run_search(asked, progress)])
    warn_of_failures(failures(last_rows(rows)))
    return in_reading_order(rows)


@in_keywords
def estimate(config: str | Path | None = None, *, progress: bool = True, **settings: Any) -> "pd.DataFrame":
    """Estimate the cost of `certify` with the same arguments, from a few seconds of sampling; nothing is written.

    Returns one row per sigma: `images` not yet finished, expected `draws` and at most `most_draws`, `seconds` of
    sampling on the `replicas` available now, `busy_seconds` summed over replicas, and `disk_bytes`. With `search` also
    the `search_seconds` of the search before it, 0 if it is finished. Raises RaysmoothError like `certify`.

    For a vision API nothing is sampled: one row per sigma with `images`, the `queries` that these need in all, those
    `answered` already, those `to_send`, their `dollars`, and `seconds` at the rate (missing if unknown). Raises
    RaysmoothError where a budget does not cover them.
    """
    import pandas as pd

    from raysmooth.actors.apis.apis import is_api
    from raysmooth.common.settings import user_settings
    from raysmooth.pipeline.dry_run.searched_run import estimate_with_search
    from raysmooth.pipeline.runs.image_level_settings import asks_for_search
    from raysmooth.pipeline.runs.procedures import PROCEDURES

    procedure = PROCEDURES["certify"]
    asked = user_settings(procedure.settings, settings, config)
    if is_api(asked.classifier):
        from raysmooth.pipeline.dry_run.query_estimate import estimate_queries

        plan = estimate_queries(procedure, asked, progress)
        plan.refuse_over_budget()
        return pd.DataFrame(
            {
                "sigma": one.run.noise.scale,
                "sampling": one.run.facts["sampling"],
                "images": one.images,
                "queries": one.answered + one.to_send,
                "answered": one.answered,
                "to_send": one.to_send,
                "dollars": one.dollars,
                "seconds": one.seconds,
            }
            for one in plan.estimates
        )
    estimates, searches = estimate_with_search(procedure, asked, progress)
    before = [one.seconds() for one in searches] or [0.0] * len(estimates)
    return pd.DataFrame(
        {
            "sigma": one.run.noise.scale,
            "sampling": one.run.facts["sampling"],
            "images": one.images,
            "draws": one.draws,
            "most_draws": one.most_draws,
            "seconds": one.seconds(),
            "replicas": one.replicas,
            "busy_seconds": one.busy_seconds,
            "disk_bytes": one.disk_bytes,
            **({"search_seconds": seconds} if asks_for_search(asked) else {}),
        }
        for one, seconds in zip(estimates, before, strict=True)
    )


@in_keywords
def recertify(
    results: "Where",
    run: str | Sequence[str] | None = None,
    *,
    alpha: float | None = None,
    n: int | None = None,
    noise_bound: str | None = None,
    familywise: float | None = None,
    norm: str | None = None,
    alpha_share: float | None = None,
    rejection: Literal["on", "off"] | None = None,
    label_rule: str | None = None,
    accepted: str | Path | None = None,
    envelope: str | Sequence[str] | None = None,
    worst_sigma: str | Sequence[str] | None = None,
    memory: bool = False,
    data_root: str | Path | None = None,
    top_k: int | None = None,
) -> "pd.DataFrame":
    """Certify again from stored counts, without new draws: with another `alpha`, the first `n` draws, another
    `noise_bound` or `alpha_share`, all at once (`familywise`), in another `norm`, or without the runs' rejectors
    (`rejection="off"`); with `label_rule` or `accepted`, other labels of the same answers of a vision API, from the
    query log. The rows form new runs beside the original ones. With `top_k` they have the columns of top-k certificates
    too: the radius within which the class, and that within which the label, stays among the k most likely.

    `envelope` joins runs of the same images that differ in sigma, and maybe in networks: the rows certify the one
    classifier whose class has the largest sigma * PhiInv(p) at any of these levels, at alpha for all runs together.
    `worst_sigma` joins them by the smallest radius where all certify the same class, which holds for any choice among
    the levels; envelopes have it in `worst_radius`.

    `memory` makes the runs' certificates those of a classifier that remembers its answers, asked in the order of the
    data set (Alfarra et al.); `data_root` says where the images are now, if they have moved. A row of a memory holds
    for later queries only: once an image is stored, every later query within its radius gets its class; points seen
    before, and smoothing, play no part.

    `run`: run ids or their first characters; default: all of certify. Returns the new rows, as `certify` does. Raises
    RaysmoothError for changes that the draws do not support.
    """
    from raysmooth.arguments import RecertifyArguments
    from raysmooth.common.settings import checked
    from raysmooth.pipeline.derived import recertify as derived
    from raysmooth.rows import in_reading_order

    given: dict[str, Any] = {"alpha": alpha, "n": n, "noise_bound": noise_bound, "familywise": familywise}
    given |= {"norm": norm, "run": run}
    given |= {"alpha_share": alpha_share, "rejection": rejection, "envelope": envelope, "worst_sigma": worst_sigma}
    given |= {"memory": memory, "data_root": data_root, "label_rule": label_rule, "accepted": accepted}
    given |= {"top_k": top_k}
    asked = checked(RecertifyArguments, given).model_dump()
    return in_reading_order(derived.recertify(results, asked.pop("run"), **asked))


@in_keywords
def import_logs(
    logs: str | Path | Sequence[str | Path], config: str | Path | None = None, **settings: Any
) -> "pd.DataFrame":
    """Import certification logs of other tools into `<out>`, each as a run of its own.

    Keyword arguments are the fields of `ImportSettings`, the flags of `raysmooth import`. Returns the rows of all
    `logs`, as `certify` does. Raises RaysmoothError, and writes nothing, if a file is not such a log.
    """
    import pandas as pd

    from raysmooth.common.settings import user_settings
    from raysmooth.pipeline.derived import log_import
    from raysmooth.pipeline.derived.import_settings import ImportSettings
    from raysmooth.pipeline.store.manifest import CERTIFICATES
    from raysmooth.pipeline.store.parts import read_rows
    from raysmooth.rows import in_reading_order

    files: list[Any]
    try:
        files = [logs] if isinstance(logs, str | Path) else list(logs)
    except TypeError:  # an object given by mistake: refused as no path
        files = [logs]
    chosen = user_settings(ImportSettings, settings, config)
    runs = dict.fromkeys(log.run_id for log in log_import.import_logs(files, chosen))
    rows = pd.concat([read_rows(chosen.out, CERTIFICATES, run_id) for run_id in runs], ignore_index=True)
    return in_reading_order(rows)


@in_keywords
def session(address: str | None = None, *, verbose: bool = False, progress: bool = True) -> "Session":
    """Keep Ray and its replicas between calls, so that only the first one waits for them to start.

    A context, or until `close`; it ends with the program in any case. `address` as in `certify`: the calls in between
    leave it out. Replicas keep their GPUs and CPU cores until then; a training with workers and a sweep take them back.
    Those that have imported your own code are replaced after each call. A program has one session: a second call
    returns the open one, and closing either closes it.

    Raises RaysmoothError if Ray does not start, or the cluster does not answer.

    >>> with raysmooth.session():
    ...     rows = [raysmooth.certify("settings.yaml", sigma=sigma) for sigma in (0.25, 0.5)]
    """
    from raysmooth.arguments import SessionArguments
    from raysmooth.common.settings import checked
    from raysmooth.pipeline.progress.progress_bars import Display
    from raysmooth.pipeline.ray_cluster.cluster import begin_session

    asked = checked(SessionArguments, {"address": address, "verbose": verbose})
    return begin_session(asked.address, asked.verbose, Display(progress).note)


def _run_procedure(name: str, config: Any, settings: dict[str, Any], progress: bool) -> "pd.DataFrame":
    from raysmooth.common.settings import user_settings
    from raysmooth.pipeline.analysis.failures import failures
    from raysmooth.pipeline.drawing.finished_runs import look_beforehand, stored_rows
    from raysmooth.pipeline.drawing.query_driver import asks_api, query_rows
    from raysmooth.pipeline.drawing.searched_levels import with_found_levels
    from raysmooth.pipeline.ray_cluster.one_ray import one_ray
    from raysmooth.pipeline.runs.image_level_settings import asks_for_search
    from raysmooth.pipeline.runs.procedures import PROCEDURES
    from raysmooth.rows import in_reading_order, warn_of_failures

    procedure = PROCEDURES[name]
    asked = user_settings(procedure.settings, settings, config)
    if asks_api(asked):
        rows = query_rows(procedure, asked, progress)
        warn_of_failures(failures(rows))
        return in_reading_order(rows)
    with one_ray() if asks_for_search(asked) else nullcontext():
        asked = with_found_levels(asked, progress)
        found = look_beforehand(procedure, [asked], progress)
        if found.ids is not None:
            rows = stored_rows(procedure, [asked], [found.ids])
        else:
            from raysmooth.pipeline.drawing.driver import run_procedure  # it loads torch

            rows = run_procedure(procedure, [asked], progress, found.opened)
    warn_of_failures(failures(rows))
    return in_reading_order(rows)
