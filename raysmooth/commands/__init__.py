"""The command line: flags in, words and tables out. Importing this package registers every command.

A new command is a function in one of these modules, registered at `app`.
"""

from raysmooth.commands import certify, experiments, figures, jobs, report, status, train

__all__ = ["certify", "experiments", "figures", "jobs", "report", "status", "train"]
