"""Loaded once in each test process's fork server: see `preloaded`."""

import os

# OpenBLAS, which NumPy loads, would start threads: a fork has none of them.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import raysmooth.__main__
import raysmooth.commands.certify
import raysmooth.commands.recertify
import raysmooth.commands.report
import raysmooth.commands.train
import raysmooth.pipeline.drawing.driver
import raysmooth.tune.training.train  # noqa: F401
