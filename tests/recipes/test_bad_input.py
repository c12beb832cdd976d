"""Claims about what a user sees who gives something wrong: one message that says what and where, status 2, nothing lost."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from steps import extract, prepare
from steps.core import stage
from steps.core.lock import locked

ROOT = Path(__file__).parents[2]
RATE, SPEAKERS, UTTERANCES = 16000, 6, 3
GIVEN = ("prepare.split=test", "prepare.trials=list.txt")


def write_audio(path: Path, seed: int = 0, rate: int = RATE, channels: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(seed).uniform(-0.5, 0.5, (rate // 4 + seed, channels))
    soundfile.write(path, samples, rate)
    return path


@pytest.fixture
def corpus(tmp_path) -> Path:
    for speaker in range(SPEAKERS):
        for number in range(UTTERANCES):
            write_audio(tmp_path / "corpus" / f"s{speaker}" / f"u{number}.wav", seed=10 * speaker + number)
    return tmp_path / "corpus"


class Shell:
    """Runs a stage as its command line does, and keeps what it said."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
        self.folder, self.monkeypatch, self.capsys = folder, monkeypatch, capsys
        self.said = ""

    def __call__(self, module, *assignments: str, out: str = "manifests", more: tuple[str, ...] = ()) -> int:
        arguments = ["--config", "recipes/own/resnet_aam.toml", "--out", str(self.folder / out)]
        for each in (f"site.corpus={self.folder / 'corpus'}", "system.name=x", *assignments):
            arguments += ["--set", each]
        self.monkeypatch.setattr(sys, "argv", [module.__name__, *arguments, *more])
        with pytest.raises(SystemExit) as caught:
            module.STAGE.main()
        self.said = self.capsys.readouterr().err
        return caught.value.code

    def refuses(self, words: str, module, *assignments: str, **options) -> None:
        """The stage ends with status 2, says the words, in that order, and shows no traceback."""
        assert self(module, *assignments, **options) == 2, self.said
        assert "Traceback" not in self.said
        rest = self.said
        for word in words.split(" ... "):
            assert word in rest, f"{word!r} is not in what is left of the message:\n{self.said}"
            rest = rest.partition(word)[2]


@pytest.fixture
def shell(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    handler = signal.getsignal(signal.SIGTERM)
    yield Shell(tmp_path, monkeypatch, capsys)
    signal.signal(signal.SIGTERM, handler)


def silence(path: Path) -> None:
    soundfile.write(path, np.zeros(RATE), RATE)


def no_number(path: Path) -> None:
    soundfile.write(path, np.full(RATE, np.nan), RATE, subtype="FLOAT")


def folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()
    path.rename(path.with_name("moved"))
    path.symlink_to("nowhere.wav")


AUDIO = {
    "gone": (folder_instead, "s2/u1.wav is a broken link"),
    "no audio": (lambda path: path.write_text("x" * 100), "s2/u1.wav cannot be read as audio"),
    "no bytes": (lambda path: path.write_bytes(b""), "s2/u1.wav is empty (0 bytes)"),
    "no samples": (lambda path: soundfile.write(path, np.zeros(0), RATE), "s2/u1.wav has no samples"),
    "silence": (silence, "s2/u1.wav has only zero samples"),
    "NaN": (no_number, "s2/u1.wav has 16000 samples that are NaN or infinite"),
    "stereo": (lambda path: write_audio(path, channels=2), "s2/u1.wav has 2 channels, expected one"),
}


def test_every_kind_of_bad_audio_is_listed_and_a_repair_goes_on(corpus, shell):
    good = {}
    for number, (spoil, _) in enumerate(AUDIO.values()):
        path = corpus / f"s{number % SPEAKERS}" / f"u{number // SPEAKERS}.wav"
        good[path] = path.read_bytes()
        spoil(path)
    shell.refuses(
        f"{len(AUDIO)} of 18 audio files cannot be used ... problems.tsv ... repair or remove ... prepare.bad_audio", prepare
    )
    listed = (shell.folder / "manifests.partial" / "out" / "problems.tsv").read_text()
    for number, (_, words) in enumerate(AUDIO.values()):
        name = f"s{number % SPEAKERS}/u{number // SPEAKERS}.wav"
        assert words.replace("s2/u1.wav ", f"{name}\t") in listed
    done = next((shell.folder / "manifests.partial" / "units").iterdir()).stat().st_mtime_ns
    shell.refuses("cannot be used (prepare.max_bad = 0.01)", prepare, "prepare.bad_audio=exclude")
    assert next((shell.folder / "manifests.partial" / "units").iterdir()).stat().st_mtime_ns == done
    for path, content in good.items():
        path.unlink()
        path.write_bytes(content)
    assert shell(prepare) == 0, shell.said
    assert "resuming: 1 of 1 parts of the work are done" in shell.said
    assert len((shell.folder / "manifests" / "utt2spk").read_text().splitlines()) == SPEAKERS * UTTERANCES
    repaired = contents(shell.folder / "manifests")
    shutil.rmtree(shell.folder / "manifests")
    assert shell(prepare) == 0, shell.said
    assert contents(shell.folder / "manifests") == repaired


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "stamp.json"
    }


REFUSED: dict[str, tuple[Callable[[Path], object], tuple[str, ...], str]] = {
    "mixed rates": (
        lambda c: write_audio(c / "s2" / "u1.wav", rate=8000), (),
        "expected 16000 Hz in all files, found 8000 Hz in 1 files, 16000 Hz in 17 files ... s2/u1.wav ... mixed_sampling_rates",
    ),
    "one utterance": (
        lambda c: write_audio(c / "s9" / "u1.wav"), (), "1 speakers have fewer ... s9 (1) ... prepare.few_utterances"
    ),
    "two files of one id": (
        lambda c: write_audio(c / "s2" / "u1.flac"), (),
        "1 utterance ids are there more than once ... 's2/u1', from s2/u1.flac and s2/u1.wav ... rename or remove",
    ),
    "blank": (lambda c: write_audio(c / "s2" / "u 1.wav"), (), "blanks ... 's2/u 1' (s2/u 1.wav) ... prepare.replace_spaces"),
    "dots": (lambda c: (c / "t.csv").write_text("path,speaker\n../u.wav,a\n"), ("prepare.table=t.csv",), "t.csv:2: '../u.wav'"),
    "dots in an id": (
        lambda c: (c / "t.csv").write_text("id,path,speaker\na/../b,s2/u1.wav,a\n"), ("prepare.table=t.csv",),
        "'a/../b' (s2/u1.wav)",
    ),
    "unknown in a list": (
        lambda c: (c / "list.txt").write_text("1 s1/u0 s1/u1\n0 s1/u0 s9/u0\n"), GIVEN,
        "list.txt:2: 1 utterances in 1 of 2 trials are unknown: 's9/u0' ... such as 's0/u0' ... correct the list",
    ),
    "empty list": (lambda c: (c / "list.txt").write_text("\n"), GIVEN, "list.txt: the trial list is empty; expected lines"),
    "malformed line": (
        lambda c: (c / "list.txt").write_text("1 s1/u0 s1/u1\ns1/u0 s2/u1\n"), GIVEN,
        "list.txt:2: malformed trial 's1/u0 s2/u1'; expected ... correct the line",
    ),
    "no list": (lambda c: None, GIVEN, "no file 'list.txt'; looked for ... correct the name"),
    "empty corpus": (lambda c: c.rename(c.with_name("old")) and c.mkdir(), (), "no audio file there; expected ... <speaker>"),
    "no corpus": (lambda c: c.rename(c.with_name("old")), (), "corpus: no such folder; correct the path (or --data DIR)"),
    "a file": (lambda c: c.rename(c.with_name("old")) and c.write_text(""), (), "corpus: is a file; expected the folder"),
    "m4a": (lambda c: (c / "s2" / "u7.m4a").write_bytes(b"x" * 100), (), "s2/u7.m4a"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_a_corpus_that_cannot_be_used_is_refused(corpus, shell, kind):
    spoil, assignments, words = REFUSED[kind]
    spoil(corpus)
    shell.refuses(words, prepare, *assignments)
    assert not (shell.folder / "manifests").exists()


def test_a_sampling_rate_that_the_features_do_not_take_is_refused_by_stage_1_and_a_setting_goes_on(tmp_path, shell):
    for speaker in range(SPEAKERS):
        for number in range(2):
            write_audio(tmp_path / "corpus" / f"s{speaker}" / f"u{number}.wav", seed=speaker, rate=8000)
    words = "16000 Hz, found 8000 Hz in 12 files; for example s0/u0.wav ... --set features.resample=true ... t.sampling_rate=8000"
    shell.refuses(words, prepare, "prepare.dev_speakers=0", "prepare.mixed_sampling_rates=allow")
    words = "expected 16000 Hz in all files, found 8000 Hz in 12 files ... --set prepare.mixed_sampling_rates=allow"
    shell.refuses(words, prepare, "prepare.dev_speakers=0", "prepare.sampling_rate=16000")
    shell.refuses("(add it to the command line):\n    --set features.resample=true", prepare, "prepare.dev_speakers=0")
    assert shell(prepare, "prepare.dev_speakers=0", "features.resample=true") == 0, shell.said
    assert "resuming: 1 of 1" in shell.said
    shell.refuses(
        "manifests/test: 4 recordings have 8000 Hz; expected features.sampling_rate = 16000 Hz ... --set features.resample=true",
        prepare, "prepare.dev_speakers=0",
    )  # fmt: skip
    more = ("--manifests", str(tmp_path / "manifests"))
    shell.refuses(
        "u0.wav ... expected 16000 Hz, found 8000 Hz; ... --set features.resample=true", extract, out="feats", more=more
    )
    assert shell(extract, "features.resample=true", out="feats", more=more) == 0


def test_a_changed_setting_over_an_old_output_is_refused(corpus, shell):
    assert shell(prepare) == 0, shell.said
    before = contents(shell.folder / "manifests")
    shell.refuses("was made with other settings ... prepare.seed: 1 -> 2 ... --force", prepare, "prepare.seed=2")
    write_audio(corpus / "s2" / "u7.wav")
    shell.refuses("input corpus: 18 files, sha256 ... -> 19 files, sha256 ... another --exp", prepare)
    assert contents(shell.folder / "manifests") == before
    assert shell(prepare, more=("--force",)) == 0
    aside = next(shell.folder.glob("manifests.old-*"))
    assert contents(aside) == before


def test_a_second_run_at_the_same_time_is_refused(corpus, shell):
    with locked(shell.folder / "manifests"):
        shell.refuses(f"is being written by process {os.getpid()} on this host ... wait", prepare)
    assert shell(prepare) == 0, shell.said


def test_ctrl_c_keeps_what_is_finished(corpus, shell, monkeypatch):
    real = stage.LAUNCHERS["local"]

    def interrupted(*arguments, **options):
        real(*arguments, **options)
        raise KeyboardInterrupt

    monkeypatch.setitem(stage.LAUNCHERS, "local", interrupted)
    shell.refuses("interrupted; what was finished is kept", prepare)
    assert not (shell.folder / "manifests.lock").exists()
    assert shell(prepare) == 0, shell.said
    assert "resuming: 1 of 1" in shell.said


COMMANDS = {
    "unknown option": (["--recip", "own"], "unknown option --recip ... --help"),
    "option without value": (["--recipe"], "option --recipe needs a value"),
    "no such stage": (["--stage", "9"], "stage '9': expected a number from 1 to 8"),
    "stages in the wrong order": (["--stage", "3", "--stop-stage", "2"], "expected the first stage before the last one"),
    "report of nothing": (["--recipe", "own", "--stage", "8"], "no system of own has been scored in ... run stages 1 to 6 first"),
    "unknown recipe": (["--recipe", "mine"], "recipes/mine: no such recipe; there are: ... own"),
    "unknown system": (["--recipe", "own", "--system", "resnet"], "resnet.toml: no such settings file ... resnet_aam"),
    "unknown setting": (
        ["--recipe", "own", "--set", "score.bakend=plda"],
        "--set score.bakend=plda: unknown setting score.bakend; did you mean backend",
    ),
    "several at once": (
        ["--set", "train.epoch=1", "--set", "train.threads=x", "--set", "score.bakend=plda", "--set=model.type=x"],
        "settings: 3 faults ... 1. --set model.type=x ... 2. [train]: 2 faults ... unknown setting train.epoch; did you mean "
        "epochs ... train.threads = 'x' has type str ... 3. --set score.bakend=plda: unknown setting",
    ),
    "several that cannot be read": (
        ["--recipe", "own", "--set", "x", "--set", "scores.x=1", "--set", "train.epochs=x"],
        "settings: 2 faults ... --set x: expected section.key=value ... unknown section [scores]",
    ),
    "choices nearest first": (
        ["--recipe", "own", "--set", "model.type=resnat"],
        "model.type = 'resnat'; expected one of resnet, vgg_resnet, thin_resnet, xvector, ... (did you mean resnet?)",
    ),
    "choices of a word": (
        ["--recipe", "own", "--set", "score.backend=pldo"], "backend: expected one of ... found 'pldo'; did you mean plda?"
    ),
    "two rates": (
        ["--recipe", "toy", "--set", "prepare.sampling_rate=8000"],
        "prepare.sampling_rate = 8000 Hz and features.sampling_rate = 16000 Hz; expected one ... --set features.resample=true",
    ),
    "unknown launcher": (["--recipe", "own", "--launcher=sge"], "no conf/launch/sge.toml; there are: local slurm"),
    "unknown section": (["--recipe", "own", "--set", "scores.x=1"], "unknown section [scores]; did you mean score?"),
    "wrong type": (["--recipe", "own", "--set", "train.epochs=ten"], "train.epochs = 'ten' has type str; expected int"),
    "wrong value": (["--recipe", "own", "--set", "prepare.split=half"], "split: expected one of made, folders, column, test"),
    "no share": (["--recipe", "own", "--set", "prepare.max_bad=5"], "max_bad: expected a share from 0 to 1 ... found 5"),
    "half a speaker": (
        ["--recipe", "own", "--set", "prepare.test_speakers=1.5"],
        "test_speakers: expected a share below 1, or a whole number",
    ),
    "no band": (
        ["--recipe", "own", "--set", "features.sampling_rate=8000"],
        "fbank.high_freq: expected over ... --set features.high_freq=-300",
    ),
    "no assignment": (["--recipe", "own", "--set", "train.epochs"], "expected section.key=value"),
    "no model": (["--recipe", "own", "--model", "nowhere"], "nowhere: no settings.toml there ... 'model' of a trained system"),
    "model and system": (["--recipe", "own", "--model", "x", "--system", "xvector"], "expected one of them"),
}  # fmt: skip


@pytest.mark.parametrize("kind", COMMANDS)
def test_a_wrong_command_is_refused_before_anything_is_written(tmp_path, kind):
    options, words = COMMANDS[kind]
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "VIRTUAL_ENV": sys.prefix}
    done = subprocess.run(
        ["./run.sh", "--exp", str(tmp_path / "exp"), "--data", str(tmp_path), *options],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    rest = done.stderr
    for word in words.split(" ... "):
        assert word in rest, done.stderr
        rest = rest.partition(word)[2]
    assert not (tmp_path / "exp").exists()
