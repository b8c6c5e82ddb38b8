"""submit: run any other command as a job on a Ray cluster."""

import shutil
import sys
from collections.abc import Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated

import typer
from typer.core import TyperGroup

from raysmooth.commands.app import INTERRUPTED, AlreadyReported, app, notes
from raysmooth.commands.usage import CommandWithExamples
from raysmooth.common.errors import RaysmoothError, counted, nearest

if TYPE_CHECKING:
    from raysmooth.jobs.submitted_job import SubmittedJob


@app.command(
    "submit",
    cls=CommandWithExamples,
    rich_help_panel="Clusters",
    # All words after the first are the job's, with or without `--` before them.
    context_settings={"allow_interspersed_args": False},
)
def submit_command(
    context: typer.Context,
    job: Annotated[list[str], typer.Argument(metavar="-- COMMAND ...", help="A raysmooth command and its flags.")],
    address: Annotated[
        str | None,
        typer.Option(
            help="Dashboard of the cluster. Default: RAY_API_SERVER_ADDRESS, RAY_ADDRESS, http://127.0.0.1:8265.",
            show_default=False,
        ),
    ] = None,
    working_dir: Annotated[str, typer.Option(help="Folder to upload with the job: a checkout of raysmooth.")] = ".",
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Print the job's id and return without waiting.")] = False,
) -> None:
    """Run a command as a job on a Ray cluster and follow its log; the exit code is the job's.

    **Examples**

    `raysmooth submit -- certify --dataset cifar10 --data-root /data --classifier cifar_resnet110
    --classifier-weights resnet110.safetensors --sigma 0.25 --out s3://bucket/results`

    `raysmooth submit --no-wait -- sweep sweep.yaml --out /shared/sweep`

    `ray dashboard cluster.yaml`, left running, forwards a cluster's dashboard to this machine. Ctrl-C asks whether to
    stop the job or to leave it running.
    """
    _refuse_no_command(context, job)
    _refuse_lost_results(job)
    from raysmooth.jobs.dashboard import find_dashboard
    from raysmooth.jobs.submitted_job import SubmittedJob
    from raysmooth.jobs.working_directory import MIB, checked_working_directory

    dashboard = find_dashboard(address)
    package = checked_working_directory(working_dir)
    notes.print(
        f"{working_dir}: {counted(len(package.files), 'file')}, {package.bytes / MIB:,.1f} MiB, to {dashboard.address}"
    )
    submitted = SubmittedJob.submit(dashboard, working_dir, job, shutil.get_terminal_size().columns)
    if no_wait:
        print(submitted.id)
        _print_how_to_follow(submitted)
        return
    notes.print(f"job {submitted.id}")
    try:
        code, message = submitted.follow(_write)
    except KeyboardInterrupt:
        _stop_or_detach(submitted)
        raise AlreadyReported(INTERRUPTED) from None
    if code:
        notes.print(f"job {submitted.id} failed{f': {message}' if message else f' with exit code {code}'}")
        raise typer.Exit(code)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _refuse_no_command(context: typer.Context, job: Sequence[str]) -> None:
    """Raises RaysmoothError unless the job's first word is a command: on the cluster this would fail a minute later."""
    group = context.find_root().command
    known = set(group.commands) - {"submit"} if isinstance(group, TyperGroup) else set()
    if job[0] not in known:
        raise RaysmoothError(f"submit: no command '{job[0]}': {nearest(job[0], known)}")


def _refuse_lost_results(job: Sequence[str]) -> None:
    """Raises RaysmoothError where results would go into the job's copy of the working directory, which the cluster
    deletes sooner or later.
    """
    given = [after for flag, after in zip(job, [*job[1:], ""], strict=True) if flag == "--out"]
    given += [word.partition("=")[2] for word in job if word.startswith("--out=")]
    if not given and job[0] in ("certify", "predict", "optimize-sigma") and "--dry-run" not in job:
        # A configuration file may name the folder; the job reads it.
        given = [] if any(word.partition("=")[0] == "--config" for word in job) else ["results"]
    for out in given:
        if "://" not in out and not PurePath(out).is_absolute():
            raise RaysmoothError(
                f"--out {out}: a job's own folder is lost with the cluster: write a URL such as s3://bucket/{out}, "
                "or the absolute path of a folder that all nodes share"
            )


def _stop_or_detach(submitted: "SubmittedJob") -> None:
    """Ask what Ctrl-C means; without a terminal, detach."""
    if _wants_stop():
        submitted.stop()
        submitted.follow(_write)
        notes.print(f"job {submitted.id} stopped; finished work is kept, rerun the same command to resume")
    else:
        _print_how_to_follow(submitted)


def _wants_stop() -> bool:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    try:
        while True:
            notes.print("\nstop the job, or detach? [s/d] ", end="")
            answer = sys.stdin.readline()
            if not answer or answer.strip().lower() in ("d", "detach"):
                return False
            if answer.strip().lower() in ("s", "stop"):
                return True
    except KeyboardInterrupt:
        return False


def _print_how_to_follow(submitted: "SubmittedJob") -> None:
    notes.print(f"job {submitted.id} is still running")
    notes.print(f"follow it: {submitted.how_to_follow}")
    notes.print(f"stop it: {submitted.dashboard.command('stop', submitted.id)}")
