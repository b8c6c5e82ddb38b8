"""recertify: other certificates from the counts on disk."""

from typing import Annotated

import typer

from raysmooth.commands.app import app, notes, say_loading
from raysmooth.commands.flags import RESULTS, to_number
from raysmooth.commands.outcome import print_errors, print_summary
from raysmooth.commands.usage import HELP_ALL, CommandWithExamples
from raysmooth.pipeline.analysis.sigmas.limits import MEMORY

SEVERAL = "Several runs or images at once"
"""Heading of recertify's further flags."""


@app.command("recertify", cls=CommandWithExamples, rich_help_panel="Results")
def recertify_command(
    results: Annotated[str, RESULTS],
    run: Annotated[
        str | None,
        typer.Option(
            help="Run ids or their first characters, comma-separated. Default: all of certify.",
            show_default=False,
        ),
    ] = None,
    alpha: Annotated[
        float | None,
        typer.Option(parser=to_number, help="Failure probability of each certificate (per image).", show_default=False),
    ] = None,
    n: Annotated[
        int | None, typer.Option(help="Use only the first N estimation draws, in whole blocks.", show_default=False)
    ] = None,
    noise_bound: Annotated[
        str | None,
        typer.Option(
            help="Upper bound on the other classes: complement (1 - pA), runner-up (from the largest other count), or "
            "rejection (from all draws neither the class's nor rejected). Default: the run's.",
            show_default=False,
        ),
    ] = None,
    alpha_share: Annotated[
        float | None,
        typer.Option(
            parser=to_number,
            help="Share of alpha for pA, where the bound on the other classes takes the rest. Default: 0.5.",
            show_default=False,
        ),
    ] = None,
    rejection: Annotated[
        str | None,
        typer.Option(help="off: certify the same draws without the rejector. Default: on.", show_default=False),
    ] = None,
    label_rule: Annotated[
        str | None,
        typer.Option(
            help="Of runs of vision APIs: another label of the same answers, as in certify, from the query log; "
            "nothing is asked. A rule chosen after its results were seen needs alpha shared among all that were tried.",
            show_default=False,
        ),
    ] = None,
    accepted: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Of such runs with accepted labels: other ones, as in certify.",
            show_default=False,
        ),
    ] = None,
    familywise: Annotated[
        float | None,
        typer.Option(
            metavar="DELTA",
            parser=to_number,
            help="alpha = DELTA / images: all certificates of a run hold at once with probability 1 - DELTA.",
            show_default=False,
        ),
    ] = None,
    norm: Annotated[
        str | None, typer.Option(help="Norm of the radius: linf of runs with Gaussian noise.", show_default=False)
    ] = None,
    top_k: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            help="Also certify that class and label stay among the K most likely.",
            show_default=False,
        ),
    ] = None,
    envelope: Annotated[
        str | None,
        typer.Option(
            metavar="RUN,RUN,...",
            help="Join runs of the same images that differ in sigma (and in denoiser, classifier): one classifier, the "
            "class with the largest sigma * PhiInv(p) at any sigma, certified at alpha for all runs together. "
            "worst_radius is that of --worst-sigma.",
            show_default=False,
            rich_help_panel=SEVERAL,
        ),
    ] = None,
    worst_sigma: Annotated[
        str | None,
        typer.Option(
            metavar="RUN,RUN,...",
            help="Join such runs by the smallest radius, where all have the same class: holds for any choice of sigma "
            "among them.",
            show_default=False,
            rich_help_panel=SEVERAL,
        ),
    ] = None,
    memory: Annotated[
        bool,
        typer.Option(
            "--memory",
            help=f"Certificates of a classifier that remembers its answers, asked in the order of the data set. "
            f"{MEMORY}",
            rich_help_panel=SEVERAL,
        ),
    ] = False,
    data_root: Annotated[
        str | None,
        typer.Option(
            help="--memory: where the images are now. Default: where the run read them.",
            show_default=False,
            rich_help_panel=SEVERAL,
        ),
    ] = None,
    help_all: Annotated[bool, HELP_ALL] = False,
) -> None:
    """Certify again from stored counts, without new draws. The rows form new runs beside the original ones.

    **Examples**

    `raysmooth recertify results --n 1000`

    `raysmooth recertify results --run 0f3a --familywise 0.05 --noise-bound runner-up`

    `raysmooth recertify results --rejection off --top-k 5`

    `raysmooth recertify results --label-rule leaf --alpha 0.0005`

    `raysmooth recertify results --envelope 0f3a,77b2,c01d`

    `raysmooth recertify results --memory --run 0f3a`
    """
    say_loading("pandas", "reading counts")
    from raysmooth.pipeline.derived.recertify import recertify
    from raysmooth.pipeline.runs.procedures import PROCEDURES

    rows = recertify(
        results,
        run,
        alpha=alpha,
        n=n,
        noise_bound=noise_bound,
        familywise=familywise,
        norm=norm,
        alpha_share=alpha_share,
        rejection=rejection,
        label_rule=label_rule,
        accepted=accepted,
        envelope=envelope,
        worst_sigma=worst_sigma,
        memory=memory,
        data_root=data_root,
        top_k=top_k,
    )
    print_summary(rows)
    for source, run_id in rows[["source", "run_id"]].drop_duplicates().itertuples(index=False):
        notes.print(f"{source}: run {run_id}")
    print_errors(rows, results, PROCEDURES["certify"].folder)
