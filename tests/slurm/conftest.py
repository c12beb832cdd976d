"""A real Slurm for the tests of this folder, where one can be started; and a bench whose stages run on it."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.core.conftest import REPOSITORY, STAGES, Bench
from tests.slurm.cluster import Cluster, reason_against

LAUNCHER = """
[launch]
type = "slurm"
poll_seconds = 0.2
late_seconds = 3.0
stop_seconds = 20
{more}
[launch.cpu]
partition = "cpu"
memory = "100M"
"""


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """Two nodes."""
    against = reason_against()
    if against:
        pytest.skip(against)
    made = Cluster(tmp_path_factory.mktemp("slurm"))
    try:
        made.start()
        yield made
    finally:
        made.stop()


class ClusterBench(Bench):
    """A folder in which the stages of tests/slurm/stages run, by default on the cluster."""

    def __init__(self, folder: Path, cluster: Cluster) -> None:
        super().__init__(folder)
        self.cluster = cluster
        paths = [str(REPOSITORY / "tests" / "slurm" / "stages"), str(STAGES), str(REPOSITORY / "steps")]
        (folder / "steps" / "__init__.py").write_text(f"__path__[:] = {paths!r}\n")
        self.launcher("test")
        self.source()

    def launcher(self, name: str, *lines: str) -> None:
        """Write conf/launch/<name>.toml."""
        folder = self.folder / "conf" / "launch"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.toml").write_text(LAUNCHER.format(more="\n".join(lines)))

    def start(self, stage: str, *options: str, **more) -> subprocess.Popen:
        """As that of a bench; programs of Slurm find the cluster."""
        known = {key: self.cluster.environment[key] for key in ("SLURM_CONF", "PATH")}
        return super().start(stage, *options, **{**known, **more})

    def faulty(self, *options: str, out: str = "out", launcher: str = "test", **more: object) -> str:
        """Run the stage "faulty" in three parts; what it said."""
        words = ("--source", "source", "--out", out, "--jobs", "3", "--launcher", launcher)
        return self.run("faulty", *words, *options, **more)

    def begin(self, *options: str, unit: str = "u2", **more: object) -> subprocess.Popen:
        """The stage "faulty" at work: one of its parts hangs in a unit until `go`, the others have ended."""
        words = ("--source", "source", "--out", "out", "--jobs", "3", "--launcher", "test")
        process = self.start("faulty", *words, *options, FAULT=f"hang:{unit}", **more)
        self.wait_for(f"out.partial/units/{unit}.tmp/{unit}.txt")
        self.wait_until(lambda: len(self.jobs()) == 1)
        return process

    def go(self) -> None:
        """Let what hangs go on."""
        (self.folder / "go").touch()

    def jobs(self, name: str = "faulty") -> list[str]:
        """The tasks of this bench's stage that wait or run, as `<array>_<task>`."""
        text = self.cluster.call("squeue", "--noheader", "--array", "--format=%i %j %Z")
        lines = [line.split(maxsplit=2) for line in text.splitlines()]
        return [task for task, job, folder in lines if job.startswith(name) and folder.startswith(str(self.folder))]

    def wait_until(self, holds, seconds: float = 40.0) -> None:
        """Return when a function returns something true."""
        self.cluster.wait_until(holds, seconds)


@pytest.fixture
def bench(cluster, tmp_path):
    """A bench on the cluster with a finished input; what still runs at the end of the test is ended."""
    made = ClusterBench(tmp_path, cluster)
    started: list[subprocess.Popen] = []
    start = made.start

    def noted(*words, **more):
        started.append(start(*words, **more))
        return started[-1]

    made.start = noted
    yield made
    made.go()
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    for task in [*made.jobs(), *made.jobs("counting"), *made.jobs("run-")]:
        cluster.call("scancel", task, check=False)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """The content that every run must end with: made in one part on this machine."""
    made = Bench(tmp_path_factory.mktemp("undisturbed"))
    paths = [str(REPOSITORY / "tests" / "slurm" / "stages"), str(STAGES), str(REPOSITORY / "steps")]
    (made.folder / "steps" / "__init__.py").write_text(f"__path__[:] = {paths!r}\n")
    made.source()
    made.run("faulty", "--source", "source", "--out", "out")
    return made.content()
