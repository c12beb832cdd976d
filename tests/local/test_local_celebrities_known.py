"""Claims about the published trial lists of VoxCeleb, which others may not stand in for unnoticed."""

import hashlib
import logging
import shutil
from pathlib import Path

import pytest

from local import voxceleb
from local.celebrities import known
from local.listing.documented import Counts
from local.voxceleb import Settings
from steps.core.errors import RecipeError
from tests.recipes.voxceleb_miniature import Miniature, make_miniature

REAL = Path(__file__).parents[3] / "shared" / "data" / "voxceleb_lists"


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Miniature:
    return make_miniature(tmp_path_factory.mktemp("miniature") / "data", durations=(0.6, 0.7))


@pytest.fixture
def log(caplog, monkeypatch):
    """What the stage says, also after another test has configured its logger."""
    monkeypatch.setattr(logging.getLogger("prepare"), "propagate", True)
    caplog.set_level(logging.INFO, logger="prepare")
    return caplog


def prepare(root: Path, out: Path, **changes) -> None:
    settings = Settings(split="test", noise="", music="", rir="", check_audio="header", **changes)
    site = {"corpus": str(root)}
    units = voxceleb.list_units(settings, site)
    for unit in units:
        (out / unit).mkdir(parents=True)
        voxceleb.prepare_unit(settings, site, unit, out / unit)
    (out / "out").mkdir()
    voxceleb.merge(settings, site, {unit: out / unit for unit in units}, out / "out")


def in_order(text: str) -> bytes:
    return "".join(sorted(text.splitlines(keepends=True))).encode()


def pinned(original: Miniature, monkeypatch) -> Path:
    """Have the miniature's list O be the published one; its file."""
    path = original.folder / "vox1" / "veri_test.txt"
    monkeypatch.setattr(known, "LISTS", {"vox1_o": Counts(speakers=6, utterances=24, trials=144, targets=72)})
    monkeypatch.setattr(known, "LIST_HASHES", {"vox1_o": hashlib.sha256(in_order(path.read_text())).hexdigest()})
    return path


def test_a_list_that_is_not_the_published_one_is_refused(original, tmp_path, monkeypatch, log):
    text = pinned(original, monkeypatch).read_text()
    data = Path(shutil.copytree(original.folder, tmp_path / "data"))
    path = data / "vox1" / "veri_test.txt"
    changes = {"trials": "veri_test.txt", "other_lists": "refuse"}
    turned = "".join(reversed(text.splitlines(keepends=True)))
    others = (turned, text.rstrip("\n"), "\ufeff" + text.replace("\n", "\r\n"), text.replace(" ", "  "))
    for number, same in enumerate((text, *others)):
        path.write_bytes(same.encode())
        prepare(data, tmp_path / f"same{number}", **changes)
    lines = text.splitlines(keepends=True)
    label, enrol, test = lines[0].split()
    swapped = "".join([f"{label} {test} {enrol}\n", *lines[1:]])
    for number, (other, words) in enumerate(
        [
            (text.partition("\n")[2], r"143 trials \(documented: 144\), 71 target trials \(documented: 72\)"),
            (swapped, r"as documented, but other lines \(SHA-256 [0-9a-f]{64}; published: [0-9a-f]{64}\)"),
        ]
    ):
        path.write_text(other)
        with pytest.raises(
            RecipeError, match=rf"veri_test.txt: is not the published list: .*{words}.*--set prepare.other_lists=warn"
        ):
            prepare(data, tmp_path / f"other{number}", **changes)
        log.clear()
        prepare(data, tmp_path / f"warned{number}", **changes | {"other_lists": "warn"})
        assert "do not compare its figures with published ones" in log.text
    path.rename(data / "vox1" / "mine.txt")
    prepare(data, tmp_path / "mine", trials="mine.txt", other_lists="refuse")


def test_a_list_is_named_by_its_documented_counts_and_hash(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("1 a b\n")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    expected = f"other lines (SHA-256 {sha256}; published: 0c4f180f"
    assert expected in known.list_problem("vox1_o", known.LISTS["vox1_o"], path)
    expected = f"other lines (MD5 {hashlib.md5(path.read_bytes()).hexdigest()}; published: b9ecf7aa"
    assert expected in known.list_problem("vox1_e", known.LISTS["vox1_e"], path)
    other = Counts(speakers=1251, utterances=7, trials=581_480, targets=290_744)
    assert "290,744 target trials (documented: 290,743)" in known.list_problem("vox1_e", other, path)


# The MD5s that the source of those of E and H gives for the O lists.
MD5S = {"veri_test.txt": "29fc7cc1c5d59f0816dc15d6e8be60f7", "veri_test2.txt": "b73110731c9223c1461fe49cb48dddfc"}


@pytest.mark.skipif(not REAL.is_dir(), reason="needs the real lists of ../shared/data/voxceleb_lists")
@pytest.mark.parametrize("file", MD5S)
def test_an_md5_is_that_of_the_published_file_whatever_its_blanks_and_ends(file, tmp_path, monkeypatch):
    name, text = known.LIST_NAMES[file], (REAL / file).read_text()
    monkeypatch.setattr(known, "LIST_HASHES", {name: MD5S[file]})
    path = tmp_path / file
    for same in (text, text.rstrip("\n"), "\ufeff" + text.replace("\n", "\r\n"), text.replace(" ", "  ")):
        path.write_bytes(same.encode())
        assert known.list_problem(name, known.LISTS[name], path) == ""
    for other in (text.replace("id10270", "id10271", 1), text + "1 a b\n", text.swapcase()):
        path.write_bytes(other.encode())
        assert "published: " + MD5S[file] in known.list_problem(name, known.LISTS[name], path)


@pytest.mark.parametrize("ends", ["\r\n", "\n", "  \n"])
def test_a_published_file_with_other_ends_than_ours_is_known_by_its_bytes(ends, tmp_path, monkeypatch):
    path = tmp_path / "list.txt"
    path.write_bytes(f"1 a  b{ends}0 a c".encode())
    monkeypatch.setattr(known, "LIST_HASHES", {"vox1_e": hashlib.md5(path.read_bytes()).hexdigest()})
    assert known.hash_problem("vox1_e", path) == ""
    path.write_bytes(b"1 a b\n0 a d")
    assert known.hash_problem("vox1_e", path)


def test_the_hash_without_a_last_line_end(tmp_path, monkeypatch):
    path = tmp_path / "list.txt"
    path.write_bytes(b"1 a b\r\n0 a c\r\n")
    monkeypatch.setattr(known, "LIST_HASHES", {"vox1_e": hashlib.md5(b"1 a b\n0 a c").hexdigest()})
    assert known.hash_problem("vox1_e", path) == ""


def test_counts_of_published_lists_add_up():
    for name, counts in known.LISTS.items():
        assert abs(2 * counts.targets - counts.trials) < 100, name  # half of a list are targets, but for what was cleaned away
    assert {name for name, counts in known.LISTS.items() if 2 * counts.targets == counts.trials} == {"vox1_o"}
