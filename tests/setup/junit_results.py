"""A pytest plugin that writes a JUnit file for every run of pytest, also for those that other programs start.

Used by check.py, which counts what the files say.
"""

import os
from pathlib import Path

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Name a file of its own for this run. Workers of pytest-xdist report to the run that started them."""
    folder = os.environ.get("POSTERN_RESULTS")
    if folder and not hasattr(config, "workerinput"):
        config.option.xmlpath = str(Path(folder) / f"{os.getpid()}.xml")
