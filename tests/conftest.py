"""For all tests: Ctrl-C means what it means, also where pytest itself was started in the background; who runs with whom."""

import os
import signal

from xdist.scheduler import LoadScopeScheduling

# A shell starts background jobs with SIGINT ignored, and what they start inherits that: stages could not be interrupted.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Several processes of tests share the cores: a thread that waits by spinning takes them from the others.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")

TOGETHER = "tests/slurm/"  # one cluster
APART = "tests/recipes/test_voxceleb_systems.py"  # long, and shares little


class FilesTogether(LoadScopeScheduling):
    """With several processes (-n), each file's tests run in one of them, since they share what they have made."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        if file == APART:
            return nodeid
        return TOGETHER if file.startswith(TOGETHER) else file


def pytest_xdist_make_scheduler(config, log):
    return FilesTogether(config, log)
