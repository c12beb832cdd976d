"""What Slurm is asked for, what its answers mean, and what is done when it gives none. No Slurm is needed here."""

import logging
import os
import shlex
import stat
import subprocess
import sys
from dataclasses import replace

import pytest

from steps.core import detach, slurm, slurm_array, slurm_task
from steps.core.errors import RecipeError
from steps.core.files import read_json
from steps.core.launch import PartsFailed
from steps.core.slurm import Resources, Slurm, SlurmSilent, Task
from steps.core.slurm_array import Request, launch_slurm, recorded, settle, write_job
from steps.core.slurm_task import STATUS_BYTES, reserve, status_path, write_status

LOG = logging.getLogger("test")
OK = {"status": 0, "task": "1_0", "host": "n1", "stopped": False}
QUICK = Slurm(poll_seconds=0.01, late_seconds=0.3, retries=1)


class FakeSlurm:
    """Takes the place of sbatch, squeue and scancel; `script` is called at each poll and plays the cluster."""

    def __init__(self, work, script):
        self.work, self.script = work, script
        self.tasks, self.arrays, self.cancelled, self.polls = {}, [], [], 0

    def submit(self, settings, resources, *, name, script, logs, parts, threads, ranks):
        job = str(len(self.arrays) + 1)
        self.arrays.append((name, list(parts)))
        for part in parts:
            self.tasks[job, part] = Task(job=job, state="RUNNING", reason="None")
        return job

    def queue(self, jobs):
        self.polls += 1
        self.script(self)
        return {key: task for key, task in self.tasks.items() if key[0] in jobs}

    def end(self, job, part, state="COMPLETED", reason="None", **status):
        """A task's end: its state, and if there is a status its file."""
        self.tasks[job, part] = Task(job=job, state=state, reason=reason)
        if status:
            write_status(self.work / "jobs" / self.arrays[int(job) - 1][0], part, OK | status)


@pytest.fixture
def launched(tmp_path, monkeypatch):
    """A function that launches parts on a FakeSlurm and returns it."""

    def run(script, parts=2, settings=QUICK, ranks=1):
        fake = FakeSlurm(tmp_path, script)
        for name in ("submit", "queue"):
            monkeypatch.setattr(slurm, name, getattr(fake, name))
        monkeypatch.setattr(slurm, "cancel", fake.cancelled.extend)
        monkeypatch.setattr(slurm, "cancel_task", lambda job, part: fake.cancelled.append(f"{job}_{part}"))
        monkeypatch.setattr(slurm, "find", lambda name: "")
        request = Request(name="fake", resources="cpu", ranks=ranks, work=tmp_path, expects=(), log=LOG)
        launch_slurm(["true", "{part}"], parts, tmp_path / "log", threads=1, settings=settings, request=request)
        return fake

    return run


def test_a_status_that_appears_late_counts(launched):
    def script(fake):
        for part in range(2):
            fake.tasks.pop(("1", part), None)  # Slurm forgot them long before the file server shows their files
        if fake.polls == 10:
            for part in range(2):
                fake.end("1", part, status=0)

    assert launched(script).arrays[0][1] == [0, 1]


def test_a_task_that_vanished_is_tried_again_and_then_named(launched):
    def script(fake):
        for job in range(1, len(fake.arrays) + 1):
            fake.tasks.pop((str(job), 1), None)
        fake.end("1", 0, status=0)

    with pytest.raises(PartsFailed, match=r"1 of 2 parts failed \(1\); part 1 vanished: .* \(task 2_1\)") as caught:
        launched(script)
    assert caught.value.status == 2


def test_a_task_that_slurm_could_not_start_is_not_waited_for(launched):
    def script(fake):
        held = len(fake.arrays) == 1
        fake.end("1", 0, status=0)
        if held:
            fake.end("1", 1, state="PENDING", reason="launch failed requeued held")
        else:
            fake.end("2", 1, status=0)

    fake = launched(script)
    assert [parts for _, parts in fake.arrays] == [[0, 1], [1]]
    assert "1_1" in fake.cancelled


@pytest.mark.parametrize(("state", "words"), [
    ("OUT_OF_MEMORY", "was killed: it used more memory"), ("TIMEOUT", "reached its time limit"), ("NODE_FAIL", "lost its node"),
    ("FAILED", "without an exit status (a full disk?)"),
])  # fmt: skip
def test_what_slurm_knows_of_an_end_without_status_is_said(launched, state, words):
    with pytest.raises(PartsFailed) as caught:
        launched(lambda fake: [fake.end(str(job + 1), 0, state=state) for job in range(len(fake.arrays))], parts=1)
    assert words in str(caught.value)


def test_a_cancelled_task_is_not_tried_again(launched):
    def script(fake):
        fake.end("1", 0, state="CANCELLED", status=-15, stopped=True)

    with pytest.raises(PartsFailed, match=r"part 0 was cancelled \(task 1_0\)"):
        launched(script, parts=1)


def test_a_preempted_task_that_waits_again_is_waited_for(launched):
    def script(fake):
        if fake.polls < 20:
            fake.end("1", 0, state="PENDING", reason="BeginTime", status=-15, stopped=True)
        else:
            fake.end("1", 0, status=0)

    assert len(launched(script, parts=1).arrays) == 1


def test_a_controller_that_is_silent_loses_no_task(launched):
    def script(fake):
        if fake.polls < 60:  # longer than late_seconds
            raise SlurmSilent("Unable to contact slurm controller")
        fake.end("1", 0, status=0)

    assert launched(script, parts=1).polls >= 60


def test_all_parts_end_their_work_when_one_fails(launched):
    def script(fake):
        fake.end("1", 0, status=1)
        if fake.polls > 30:
            fake.end("1", 1, status=0)

    with pytest.raises(PartsFailed, match=r"1 of 2 parts failed \(0\); part 0 ended with status 1 \(task 1_0 on n1\)"):
        launched(script, settings=Slurm(poll_seconds=0.01, retries=0))


def test_an_array_is_on_record_before_it_is_submitted(launched, monkeypatch, tmp_path):
    def refuse(*arguments, name, **options):
        assert recorded(tmp_path) == {name: ""}
        raise KeyboardInterrupt

    monkeypatch.setattr(FakeSlurm, "submit", refuse)
    with pytest.raises(KeyboardInterrupt):
        launched(lambda fake: None)
    assert recorded(tmp_path) == {}  # Slurm knows none of that name


def test_jobs_that_cannot_be_asked_after_stop_a_rerun(monkeypatch, tmp_path):
    slurm_array.record(tmp_path, "fake-1", "7")

    def queue(jobs):
        raise RecipeError("squeue: no such program")

    monkeypatch.setattr(slurm, "queue", queue)
    with pytest.raises(RecipeError, match=r"jobs\.json: a killed run left jobs .* delete that file if they have ended"):
        settle(tmp_path, LOG, adopt=True, watch=lambda: None)
    assert recorded(tmp_path) == {"fake-1": "7"}


def test_a_status_file_needs_no_room_of_its_own(tmp_path):
    reserve(tmp_path, 3)
    inode = (tmp_path / "reserved.3").stat().st_ino
    write_status(tmp_path, 3, OK)
    assert status_path(tmp_path, 3).stat().st_ino == inode
    assert status_path(tmp_path, 3).stat().st_size == STATUS_BYTES
    assert read_json(status_path(tmp_path, 3)) == OK


@pytest.fixture
def program(tmp_path, monkeypatch):
    """A function that puts a program of Slurm's name on the path: a line of Python that sees its words as `words`."""

    def make(name, line):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!{sys.executable}\nimport os, sys, pathlib\nwords = sys.argv[1:]\n{line}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{path.parent}{os.pathsep}{os.environ['PATH']}")

    return make


def _submit(tmp_path, settings=QUICK, resources=None):
    return slurm.submit(
        settings, resources or Resources(), name="fake-1", script=tmp_path / "job.sh", logs=tmp_path, parts=[0, 2], threads=3
    )


def test_a_job_asks_for_what_the_settings_say(tmp_path, program):
    program("sbatch", f"pathlib.Path({str(tmp_path / 'words')!r}).write_text('\\n'.join(words)); print('12;cluster')")
    wanted = Resources(partition="p q", account="a", qos="q", constraint="c&d", time="1-0:30:00", memory="4G", gres="gpu:2")
    assert _submit(tmp_path, Slurm(max_tasks=5, stop_seconds=9), wanted) == "12"
    words = (tmp_path / "words").read_text().splitlines()
    expected = {
        "--array=0,2%5", "--partition=p q", "--account=a", "--qos=q", "--constraint=c&d", "--time=1-0:30:00", "--mem=4G",
        "--gres=gpu:2", "--cpus-per-task=3", "--signal=B:USR1@9", "--job-name=fake-1", "--requeue", f"--chdir={tmp_path}",
    }  # fmt: skip
    assert expected <= set(words)
    assert words[-1] == str(tmp_path / "job.sh")
    _submit(tmp_path, resources=Resources(cpus=8, options=("--exclude=n 7",)))
    assert {"--cpus-per-task=8", "--exclude=n 7"} <= set((tmp_path / "words").read_text().splitlines())


def test_a_job_that_a_silent_controller_took_is_not_submitted_twice(tmp_path, program):
    count = tmp_path / "count"
    program("sbatch", f"open({str(count)!r}, 'a').write('x'); sys.exit('error: Socket timed out on send/recv operation')")
    program("squeue", "assert '--name=fake-1' in words; print('12 0 RUNNING None')")
    assert _submit(tmp_path) == "12"
    assert count.read_text() == "x"


def test_a_job_is_offered_again_to_a_controller_that_did_not_take_it(tmp_path, program):
    count = tmp_path / "count"
    program(
        "sbatch",
        f"open({str(count)!r}, 'a').write('x')\n"
        f"if len(open({str(count)!r}).read()) < 3: sys.exit('Unable to contact slurm controller (connect failure)')\nprint(13)",
    )
    program("squeue", "pass")
    assert _submit(tmp_path) == "13"
    assert count.read_text() == "xxx"


def test_the_submitter_s_own_job_is_no_wish_for_the_next(tmp_path, program, monkeypatch):
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "100")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    program("sbatch", "print(' '.join(key for key in os.environ if key.startswith('SLURM_')) == 'SLURM_CONF')")
    assert _submit(tmp_path) == "True"


def test_a_job_that_slurm_has_forgotten_has_ended(program):
    program("squeue", "sys.exit('slurm_load_jobs error: Invalid job id specified')")
    assert slurm.queue(["7"]) == {}
    assert not slurm.job_lives("7")
    program("squeue", "print('7 3 RUNNING None'); print('7 4 PENDING Resources because of that')")
    assert slurm.queue(["7"])["7", 4] == Task(job="7", state="PENDING", reason="Resources because of that")
    assert slurm.job_lives("7")
    program("squeue", "sys.exit('Unable to contact slurm controller')")
    assert slurm.job_lives("7")  # nobody knows: then nothing is taken from it
    with pytest.raises(SlurmSilent):
        slurm.queue(["7"])


def test_where_there_is_no_slurm_that_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RecipeError, match=r"sbatch: no such program; expected Slurm on this host"):
        _submit(tmp_path)


def test_the_script_of_a_job_quotes_every_word(tmp_path, monkeypatch):
    hard = "a b;$(touch pwned)`touch pwned`'\"\\%a*"
    folder = tmp_path / hard
    (folder / "log").mkdir(parents=True)
    (folder / "shown.py").write_text("import os, sys; print([os.getcwd(), *sys.argv[1:]])")
    monkeypatch.chdir(folder)
    slurm.write_script(folder / "job.sh", Slurm(prologue=("echo $((1 + 1))",)), "shown", [hard, ""], logs=folder / "log")
    subprocess.run(["bash", folder / "job.sh"], cwd="/", env=os.environ | {"SLURM_ARRAY_TASK_ID": "3"}, check=True)
    assert (folder / "log" / "part.3.log").read_text() == f"2\n{[str(folder), hard, '']}\n"
    assert not list(tmp_path.rglob("pwned"))


def test_whatever_slurm_starts_runs_in_the_container(tmp_path, monkeypatch):
    """The stand-in for apptainer shows its words and runs what follows them."""
    image = tmp_path / "an image; $(touch pwned).sif"
    image.write_text('#!/bin/bash\necho "in $1 $2"; shift 2; exec "$@"\n')
    image.chmod(0o755)
    (tmp_path / "shown.py").write_text("import sys; print(sys.argv[1:])")
    monkeypatch.chdir(tmp_path)
    settings = Slurm(container=(str(image), "exec", "--bind=/a b"), prologue=("echo before",))
    slurm.write_script(tmp_path / "job.sh", settings, "shown", ["word"], logs=tmp_path)
    subprocess.run(["bash", tmp_path / "job.sh"], cwd="/", env=os.environ | {"SLURM_ARRAY_TASK_ID": "0"}, check=True)
    assert (tmp_path / "part.0.log").read_text() == "before\nin exec --bind=/a b\n['word']\n"
    assert not list(tmp_path.rglob("pwned"))


def test_ranks_are_started_in_the_container(launched, tmp_path):
    def all_well(fake):
        fake.end("1", 0, status=0)

    launched(all_well, parts=1, settings=replace(QUICK, container=("apptainer", "exec", "a b.sif")), ranks=2)
    (job,) = tmp_path.glob("jobs/*/job.json")
    words = shlex.split(read_json(job)["environment"]["STEPS_SRUN"])
    assert words[0] == "srun"
    assert words[-4:] == ["--wait=0", "apptainer", "exec", "a b.sif"]


def test_a_task_that_cannot_requeue_itself_says_so(monkeypatch, capsys):
    monkeypatch.setenv("PATH", "/nowhere")
    slurm_task._requeue("7_0")
    assert "it could not: scontrol: No such file or directory" in capsys.readouterr().err


@pytest.mark.parametrize(("answer", "left"), [("pass", 0), ("print('12 0 PENDING None')", 1)])
def test_a_detached_run_that_slurm_refused_leaves_nothing_behind(tmp_path, program, monkeypatch, answer, left):
    program("sbatch", "sys.exit('sbatch: error: invalid partition specified: moon')")
    program("squeue", answer)  # it may have taken a job all the same
    monkeypatch.setattr(detach, "read_launcher", lambda name: QUICK)
    with pytest.raises(RecipeError, match="invalid partition specified: moon"):
        detach.detach("test", tmp_path / "runs", tmp_path, ["true"])
    assert len(list((tmp_path / "runs").iterdir())) == left


def test_ranks_ask_for_as_many_times_as_much_on_each_of_their_nodes():
    gpu = Resources(partition="gpu", time="1:00:00", memory="32G", cpus=8, gres="gpu:a100:1", nodes=2, options=("--nice=1",))
    assert gpu.words(2, ranks=8) == [
        "--nodes=2", "--ntasks-per-node=4", "--cpus-per-task=8", "--partition=gpu", "--time=1:00:00", "--mem=128G",
        "--gres=gpu:a100:4", "--nice=1",
    ]  # fmt: skip
    assert gpu.words(2)[:2] == ["--nodes=1", "--ntasks-per-node=1"]
    assert "--gres=gpu:a100:1" in gpu.words(2)
    assert {"--nodes=2", "--ntasks=8", "--ntasks-per-node=4", "--cpus-per-task=8", "--kill-on-bad-exit=1"} <= set(gpu.srun(2, 8))
    assert Resources(gres="gpu,shard:2").words(1, ranks=3)[-1] == "--gres=gpu:3,shard:6"
    with pytest.raises(RecipeError, match=r"train\.ranks = 3: expected a multiple of launch\.\*\.nodes = 2"):
        gpu.words(2, ranks=3)


def test_the_job_of_a_training_knows_how_its_ranks_are_started_and_no_other(launched, tmp_path):
    def all_well(fake):
        for part in range(2):
            fake.end("1", part, status=0)

    launched(all_well)
    (job,) = tmp_path.glob("jobs/*/job.json")
    assert read_json(job)["environment"]["STEPS_SRUN"] == ""
    folder = tmp_path / "ranks"
    folder.mkdir()
    write_job(folder, ["true"], settings=QUICK, threads=1, expects=(), submits=False, srun=QUICK.cpu.srun(1, 2))
    assert read_json(folder / "job.json")["environment"]["STEPS_SRUN"].startswith("srun --mpi=none --nodes=1 --ntasks=2 ")
