"""For all tests: Ctrl-C means what it means, also where pytest itself was started in the background; who runs with whom."""

import signal
from pathlib import Path

import pytest

# A shell starts background jobs with SIGINT ignored, and what they start inherits that: stages could not be interrupted.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

TOGETHER = Path("tests") / "slurm"  # one cluster
APART = Path("tests") / "recipes" / "test_voxceleb_systems.py"  # long, and shares little


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """With several processes (-n), each file's tests run in one of them, since they share what they have made."""
    for item in items:
        path = item.path.relative_to(item.config.rootpath)
        if path != APART:
            item.add_marker(pytest.mark.xdist_group(str(TOGETHER if path.is_relative_to(TOGETHER) else path)))
