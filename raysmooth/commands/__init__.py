"""The command line: flags in, text and tables out. Importing this package registers every command.

Only `raysmooth` itself imports this package. A new command is a function in one of its modules, registered with
`app`; a new list of `raysmooth list` is an entry of `CATALOGUE` in `catalogue`.
"""

from raysmooth.commands import (
    certify,
    experiments,
    export,
    figures,
    jobs,
    optimize_sigma,
    recertify,
    report,
    status,
    train,
)

__all__ = [
    "certify",
    "experiments",
    "export",
    "figures",
    "jobs",
    "optimize_sigma",
    "recertify",
    "report",
    "status",
    "train",
]
