"""A real Slurm on one machine: two nodes that are processes, on ports of their own, without systemd, cgroups or a database.

    python tests/slurm/cluster.py FOLDER        starts one, prints the line that points programs at it, stops it at Ctrl-C

Needs root, and the programs of Debian's `slurm-wlm munge`.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "squeue", "scancel", "scontrol")
# Short times everywhere: what a cluster takes minutes to notice is noticed in seconds. `cred_expire` is how long a job that was
# put back into the queue waits.
CONF = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
MailProg=/bin/true
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=0
ReturnToService=2
KillWait=3
MinJobAge=300
SlurmctldTimeout=30
SlurmdTimeout=5
MessageTimeout=5
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName=n[1-2] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{first}-{second}] CPUs=8 RealMemory=64000 Gres=gpu:1 State=UNKNOWN
PartitionName=cpu Nodes=ALL Default=YES MaxTime=60 State=UP
PartitionName=gpu Nodes=ALL MaxTime=60 State=UP
"""


def reason_against() -> str:
    """Why no Slurm can be started here, or "" if it can."""
    if os.geteuid() != 0:
        return "starting Slurm needs root"
    missing = [name for name in PROGRAMS if shutil.which(name, path=_path()) is None]
    return f"not installed: {', '.join(missing)} (apt-get install slurm-wlm munge)" if missing else ""


def _path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


class Cluster:
    """Slurm in a folder; its daemons can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": _path()}

    def start(self) -> None:
        """Return when both nodes are idle. Raises RuntimeError with the daemons' words if they do not come up."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)  # for munge
        for name in ("state", "spool.n1", "spool.n2"):
            (self.folder / name).mkdir(exist_ok=True)
        port, first, second = _free_ports(3)
        first, second = (first, first + 1) if _is_free(first + 1) else (second, second + 1)
        host = socket.gethostname().partition(".")[0]
        text = CONF.format(host=host, port=port, first=first, second=second, folder=self.folder)
        (self.folder / "slurm.conf").write_text(text)
        (self.folder / "gres.conf").write_text("Name=gpu File=/dev/null\n")
        self._start_munge()
        self.call("slurmctld", "-c")
        for node in ("n1", "n2"):
            self.call("slurmd", "-N", node)
        self.wait_until(lambda: self.call("sinfo", "-h", "-N", "-o", "%t", "-p", "cpu").split() == ["idle", "idle"])

    def _start_munge(self) -> None:
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        names = ("socket", "pid", "log", "seed")
        files = [f"--{option}-file={self.folder / f'munge.{option}'}" for option in names[1:]]
        # A key and a socket of its own: the machine's munge, if there is one, stays as it is.
        self.call("munged", f"--key-file={key}", f"--socket={self.folder / 'munge.socket'}", *files, "--force")

    def call(self, *words: str, check: bool = True) -> str:
        """What a program of this cluster says."""
        process = subprocess.run(words, env=self.environment, capture_output=True, text=True, timeout=60, check=False)
        if check and process.returncode != 0:
            raise RuntimeError(f"{' '.join(words)}: {process.stderr}{self.words()}")
        return process.stdout

    def words(self) -> str:
        """The last lines of the daemons' logs."""
        return "".join(f"\n{path}:\n" + path.read_text(errors="replace")[-1500:] for path in self.folder.glob("*.log"))

    def wait_until(self, holds, seconds: float = 40.0) -> None:
        """Return when a function returns something true."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                if holds():
                    return
            except (RuntimeError, OSError):
                pass
            if time.monotonic() > deadline:
                raise RuntimeError(f"waited {seconds} s in vain{self.words()}")
            time.sleep(0.1)

    def pid(self, name: str) -> int:
        """The process of a daemon: "slurmctld", "slurmd.n1" or "slurmd.n2"."""
        return int((self.folder / f"{name}.pid").read_text())

    def end(self, name: str, number: int = signal.SIGTERM) -> None:
        """End a daemon, with SIGKILL as a crash would."""
        pid = self.pid(name)
        os.kill(pid, number)
        self.wait_until(lambda: not Path(f"/proc/{pid}").exists())

    def stop(self) -> None:
        """End all jobs and daemons that were started here."""
        self.call("scancel", "--state=RUNNING", check=False)
        self.call("scancel", "--state=PENDING", check=False)
        names = [path.stem for path in self.folder.glob("*.pid") if path.stem != "munge"]
        time.sleep(0.5)
        for name in [*names, "munge"]:
            try:
                os.kill(self.pid(name), signal.SIGTERM)
            except (OSError, ValueError):
                continue


def _free_ports(count: int) -> list[int]:
    with_sockets = [socket.socket() for _ in range(count)]
    try:
        for each in with_sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in with_sockets]
    finally:
        for each in with_sockets:
            each.close()


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


if __name__ == "__main__":
    cluster = Cluster(Path(sys.argv[1]).absolute())
    against = reason_against()
    if against:
        sys.exit(against)
    try:
        cluster.start()
        print(f"export SLURM_CONF={cluster.folder / 'slurm.conf'}", flush=True)
        signal.pause()
    except KeyboardInterrupt:
        pass
    finally:
        cluster.stop()
