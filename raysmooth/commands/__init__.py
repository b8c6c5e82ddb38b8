"""The command line. A module's commands are registered when it is imported, and all are imported here."""

from raysmooth.commands import certify, experiments, figures, jobs, report, status, train

__all__ = ["certify", "experiments", "figures", "jobs", "report", "status", "train"]
