"""A bench: a folder in which the stages of tests/core/stages run as `python -m steps.<stage>`, beside the real core."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from steps.core.stamp import read_stamp

REPOSITORY = Path(__file__).parents[2]
STAGES = Path(__file__).parent / "stages"


class Bench:
    """Runs stages in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "steps").mkdir()
        (folder / "steps" / "__init__.py").write_text(f"__path__[:] = [{str(STAGES)!r}, {str(REPOSITORY / 'steps')!r}]\n")

    def start(self, stage: str, *options: str, limit: int | None = None, **variables: str) -> subprocess.Popen:
        """A running stage, leader of its own process group; `limit` is the largest file that it can write, in bytes."""
        environment = {key: value for key, value in os.environ.items() if key not in ("FAKE", "KILL_AT")} | variables
        environment["PYTHONDONTWRITEBYTECODE"] = "1"  # a limit on files would cut those short, too
        return subprocess.Popen(
            [sys.executable, "-m", f"steps.{stage}", *options],
            cwd=self.folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
            preexec_fn=None if limit is None else lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        )  # fmt: skip

    def run(self, stage: str, *options: str, expect: int = 0, **more: object) -> str:
        """What a finished stage said on stderr and stdout, after its exit status has been checked."""
        process = self.start(stage, *options, **more)
        out, err = process.communicate(timeout=120)
        assert process.returncode == expect, f"status {process.returncode}, expected {expect}\n{err}{out}"
        return err + out

    def source(self, *options: str, out: str = "source") -> None:
        """Make the input of the stage "fake"."""
        self.run("source", "--out", out, *options)

    def fake(self, *options: str, out: str = "out", source: str = "source", **more: object) -> str:
        """Run the stage "fake"; what it said."""
        return self.run("fake", "--source", source, "--out", out, *options, **more)

    def calls(self) -> list[str]:
        """The units that were begun since the last question, in order."""
        return [line.split()[0] for line in self._take_calls()]

    def pids(self) -> set[int]:
        """The processes that begun units since the last question."""
        return {int(line.split()[1]) for line in self._take_calls()}

    def _take_calls(self) -> list[str]:
        path = self.folder / "calls.txt"
        lines = path.read_text().splitlines() if path.is_file() else []
        path.unlink(missing_ok=True)
        return lines

    def wait_for(self, name: str) -> None:
        """Return when a file or folder is there."""
        deadline = time.monotonic() + 60
        while not (self.folder / name).exists():
            assert time.monotonic() < deadline, f"{name} did not appear"
            time.sleep(0.005)

    def content(self, out: str = "out") -> str:
        """The content hash of a finished output."""
        stamp = read_stamp(self.folder / out)
        assert stamp is not None, f"{out} was not made"
        return stamp["content"]

    def left(self) -> list[str]:
        """What lies beside the inputs and outputs: nothing, if all ended well."""
        usual = ("steps", "calls.txt", "source", "out")
        return sorted(path.name for path in self.folder.iterdir() if path.name not in usual)


@pytest.fixture
def bench(tmp_path):
    """A bench with a finished input."""
    made = Bench(tmp_path)
    made.source()
    return made


@pytest.fixture
def hanging(bench):
    """A stage that hangs in unit u2, with the units before it done; killed at the end if the test did not."""
    process = bench.start("fake", "--source", "source", "--out", "out", FAKE="hang:u2")
    bench.wait_for("out.partial/units/u2.tmp/u2.txt")
    yield process
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
