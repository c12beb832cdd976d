"""The recipes of images install what README.md says; they are read here, and their commands run beside stand-ins."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
DOCKERFILE = REPOSITORY / "containers" / "Dockerfile"
DEFINITION = REPOSITORY / "containers" / "apptainer.def"
PROGRAMS = ("apt-get", "rm", "useradd", "python3.11")  # that the commands call


def _instructions():
    """Pairs (instruction, rest) of the Dockerfile."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [tuple(line.split(maxsplit=1)) for line in lines if line.strip()]


def _sections():
    """Name -> lines of the definition; "": its head."""
    found, name = {"": []}, ""
    for line in DEFINITION.read_text(encoding="utf-8").splitlines():
        if line.startswith("%"):
            name = line.strip()
            assert name not in found
            found[name] = []
        elif line.strip():
            found[name].append(line.strip())
    return found


def _docker_commands():
    return [rest for name, rest in _instructions() if name == "RUN"]


def _scripts():
    return {"Dockerfile": "\n".join(_docker_commands()), "apptainer.def": "\n".join(_sections()["%post"])}


def _copied():
    """Pairs (file of the repository, where it goes) of both."""
    docker = [(word, rest.split()[-1]) for name, rest in _instructions() if name == "COPY" for word in rest.split()[:-1]]
    return docker + [tuple(line.split()) for line in _sections()["%files"]]


def test_both_build_on_the_same_plain_image():
    images = {rest for name, rest in _instructions() if name == "FROM"}
    head = dict(line.split(": ") for line in _sections()[""])
    assert images == {head["From"]} == {"python:3.11-slim"}  # no host of a registry: whoever builds says which
    assert head["Bootstrap"] == "docker"


def test_what_is_copied_is_there_and_is_all_that_the_installation_reads():
    names = [name for name, _ in _copied()]
    assert sorted(names) == sorted(["pyproject.toml", "README.md"] * 2)
    assert all((REPOSITORY / name).is_file() for name in names)
    assert 'readme = "README.md"' in (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["Dockerfile", "apptainer.def"])
def test_the_packages_are_installed_as_the_readme_does(name):
    (line,) = re.findall(r"^    (python3\.11 -m venv .* && \./run\.sh)$", (REPOSITORY / "README.md").read_text(), re.MULTILINE)
    install = line.removesuffix(" && ./run.sh")
    assert install in _scripts()[name].splitlines()
    assert "torch" not in _scripts()[name]  # versions stand in pyproject.toml alone


def test_both_install_the_same_of_the_system():
    docker, definition = (set(re.findall(r"apt-get install ([^&\n]+)", text)) for text in _scripts().values())
    assert {text.strip() for text in docker} == {text.strip() for text in definition}
    assert len(docker) == 1


def test_no_image_runs_as_root():
    (user,) = [rest for name, rest in _instructions() if name == "USER"]
    assert user != "root"
    assert f"useradd {user}" in _docker_commands()


@pytest.mark.parametrize("name", ["Dockerfile", "apptainer.def"])
def test_the_commands_are_sound_shell(name):
    script = "#!/bin/sh\nset -e\n" + _scripts()[name] + "\n"  # as docker and apptainer run them
    program = shutil.which("shellcheck", path=str(Path(sys.executable).parent)) or shutil.which("shellcheck")
    for words in (["sh", "-n"], [program, "-"] if program else ["true"]):
        done = subprocess.run(words, input=script, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["Dockerfile", "apptainer.def"])
def test_the_commands_run_one_after_the_other(name, tmp_path):
    """Beside stand-ins for all programs, which write down their words; a failing one would end the build."""
    programs, here = tmp_path / "bin", tmp_path / "opt" / "sidamo"
    programs.mkdir()
    here.mkdir(parents=True)
    say = f'#!{shutil.which("bash")}\necho "${{0##*/}} $*" >>{shlex.quote(str(tmp_path / "said"))}\n'
    for program in PROGRAMS:
        (programs / program).write_text(say)
    venv = f"{shutil.which('mkdir')} -p .venv/bin; {shutil.which('cp')} $0 .venv/bin/pip\n"
    (programs / "python3.11").write_text(say + 'if [ "$2" = venv ]; then ' + venv.strip() + "; fi\n")
    for path in programs.iterdir():
        path.chmod(0o755)
    script = "set -e\n" + _scripts()[name].replace("/opt/sidamo", str(here))
    done = subprocess.run(
        ["sh", "-c", script], cwd=here, env={"PATH": str(programs)}, capture_output=True, text=True, check=False,
        executable=shutil.which("sh"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = (tmp_path / "said").read_text().splitlines()
    assert said[0] == "apt-get update"
    assert said.index("python3.11 -m venv .venv") + 1 == said.index("pip install -e .")
    assert {line.split()[0] for line in said} <= {*PROGRAMS, "pip"}


def test_run_sh_takes_the_image_s_python_and_not_that_of_the_mounted_folder():
    environment = dict(
        shlex.split(rest.replace("=", " ", 1)) for name, rest in _instructions() if name == "ENV" for rest in rest.split()
    )
    assert environment["PATH"].startswith(environment["VIRTUAL_ENV"] + "/bin:")
    assert f"export VIRTUAL_ENV={environment['VIRTUAL_ENV']}" in _sections()["%environment"]
    assert '[ -z "${VIRTUAL_ENV:-}" ] && [ -x .venv/bin/python ]' in (REPOSITORY / "run.sh").read_text(encoding="utf-8")
    assert os.path.dirname(environment["VIRTUAL_ENV"]) in [rest for name, rest in _instructions() if name == "WORKDIR"]
