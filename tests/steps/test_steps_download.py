"""Claims about the command that fetches corpora, against a server on this machine."""

import functools
import hashlib
import http.server
import json
import logging
import re
import shutil
import tarfile
import threading
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from local.fetching import sources
from local.fetching.sources import SOURCES, Archive, Source
from steps import download
from steps.core.errors import RecipeError

LOG = logging.getLogger("test_download")


@pytest.fixture
def served(tmp_path):
    """(folder that is served, its address, paths that were asked for)."""
    folder, asked = tmp_path / "served", []
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            super().do_GET()

        def log_message(self, *words):
            pass

    here = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    threading.Thread(target=here.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield folder, f"http://127.0.0.1:{here.server_port}", asked
    here.shutdown()
    here.server_close()


def make_tar(path: Path, *names: str) -> str:
    """Make an archive of files that hold their names; its MD5."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            file = path.with_name("member")
            file.write_text(name)
            archive.add(file, name)
            file.unlink()
    return hashlib.md5(path.read_bytes()).hexdigest()


def source(address: str, **subsets: Archive) -> Source:
    return Source(title="Test", home="here", base=address, subsets=subsets)


def run(each: Source, to: Path, *subsets: str, **options) -> None:
    download.download(each, to, subsets, retries=0, log=LOG, **options)


def test_archives_are_fetched_compared_and_unpacked_once(served, tmp_path, caplog):
    folder, address, asked = served
    caplog.set_level(logging.INFO)
    md5s = {name: make_tar(folder / "12" / f"{name}.tar.gz", f"Libri/{name}/1.flac", "Libri/README") for name in ("a", "b")}
    archives = {
        name: Archive(name=f"{name}.tar.gz", path=f"12/{name}.tar.gz", md5=md5, creates=f"Libri/{name}")
        for name, md5 in md5s.items()
    }
    each = source(address, **archives)
    run(each, tmp_path / "to", "a")
    assert (tmp_path / "to" / "Libri" / "a" / "1.flac").read_text() == "Libri/a/1.flac"
    run(each, tmp_path / "to")
    assert (tmp_path / "to" / "Libri" / "b" / "1.flac").is_file()
    assert asked == ["/12/a.tar.gz", "/12/b.tar.gz"]
    assert "a.tar.gz: MD5 as documented" in caplog.text
    assert "a.tar.gz: unpacked before" in caplog.text
    shutil.rmtree(tmp_path / "to" / "Libri" / "b")  # the archive is there still, and is not compared again
    caplog.clear()
    run(each, tmp_path / "to")
    assert (tmp_path / "to" / "Libri" / "b" / "1.flac").is_file()
    assert len(asked) == 2
    assert "MD5" not in caplog.text


def test_a_wrong_checksum_is_refused_and_nothing_is_unpacked(served, tmp_path):
    folder, address, _ = served
    make_tar(folder / "a.tar.gz", "x/1")
    each = source(address, a=Archive(name="a.tar.gz", path="a.tar.gz", md5="0" * 32, creates="x"))
    with pytest.raises(RecipeError, match=r"a.tar.gz: MD5 .*, expected 0{32}"):
        run(each, tmp_path / "to")
    assert not (tmp_path / "to" / "x").exists()


def test_parts_are_compared_and_unpacked_as_one(served, tmp_path):
    folder, address, asked = served
    md5 = make_tar(folder / "whole", *(f"CN/data/{number}" for number in range(50)))
    data, parts = (folder / "whole").read_bytes(), []
    for number, letter in enumerate("abc"):
        piece = data[number * 200 : (number + 1) * 200 if number < 2 else None]
        (folder / f"v.tar.gza{letter}").write_bytes(piece)
        parts.append(Archive(name=f"v.tar.gza{letter}", path=f"v.tar.gza{letter}", md5=hashlib.md5(piece).hexdigest()))
    each = source(address, v=Archive(name="v.tar.gz", md5=md5, parts=tuple(parts), creates="CN/data"))
    run(each, tmp_path / "to", keep=False)
    assert len(list((tmp_path / "to" / "CN" / "data").iterdir())) == 50
    assert not list((tmp_path / "to" / ".downloads").glob("*.gz*a?"))  # not kept
    bad = replace(parts[1], md5="0" * 32)
    each = source(address, v=Archive(name="v.tar.gz", md5=md5, parts=(parts[0], bad, parts[2]), creates="CN/data"))
    with pytest.raises(RecipeError, match=r"v.tar.gzab: MD5"):
        run(each, tmp_path / "other")
    assert asked[-1] == "/v.tar.gzab"  # the rest is not fetched in vain


def test_what_others_put_there_is_left_alone(served, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    _, address, asked = served
    (tmp_path / "to" / "musan").mkdir(parents=True)
    run(source(address, musan=Archive(name="m.tar.gz", path="m.tar.gz", creates="musan")), tmp_path / "to")
    assert not asked
    assert "m.tar.gz: there already, and not by this command: not compared" in caplog.text


def test_an_archive_without_documented_checksum_is_said_to_have_none(served, tmp_path, caplog):
    folder, address, _ = served
    md5 = make_tar(folder / "s.tar.gz", "s/1")
    run(source(address, s=Archive(name="s.tar.gz", path="s.tar.gz", creates="s")), tmp_path / "to")
    assert f"s.tar.gz: no checksum is documented; it has MD5 {md5}" in caplog.text


def test_another_address_may_be_given(served, tmp_path):
    folder, address, _ = served
    md5 = make_tar(folder / "copy" / "a.tar.gz", "x/1")
    each = source("http://127.0.0.1:9", a=Archive(name="a.tar.gz", path="a.tar.gz", md5=md5, creates="x"))
    run(each, tmp_path / "to", base=f"{address}/copy/")
    assert (tmp_path / "to" / "x" / "1").is_file()


def test_a_full_disk_is_said_before_anything_is_fetched(served, tmp_path):
    _, address, asked = served
    each = source(address, a=Archive(name="a.tar.gz", path="a.tar.gz", num_bytes=10**18, creates="x"))
    with pytest.raises(RecipeError, match=r"a.tar.gz needs 1,000,000,000,000,000,000 more bytes, [\d,]+ are free"):
        run(each, tmp_path / "to")
    assert not asked


def test_an_unknown_subset_is_refused(tmp_path):
    with pytest.raises(RecipeError, match=r"--subset clean: expected one of train-clean-100, "):
        run(SOURCES["librispeech"], tmp_path, "clean")


def placed(to: Path, monkeypatch) -> dict[str, str]:
    """Put VoxCeleb's archives into a folder, tiny and with MD5s to match: dev in parts, one zip with a folder dev in it."""
    to.mkdir()
    members = {
        "vox1_dev": ["wav/id10001/-aBc_DEf123/00001.wav"],
        "vox1_test": ["wav/id10270/x6uYqmx31kE/00001.wav"],
        "vox2_dev": ["dev/aac/id00012/21Uxsk56VDQ/00001.m4a"],
    }
    subsets = dict(SOURCES["voxceleb"].subsets)
    for name, files in members.items():
        path = to / subsets[name].name
        with zipfile.ZipFile(path, "w") as archive:
            for file in files:
                archive.writestr(file, file)
        data = path.read_bytes()
        subsets[name] = replace(subsets[name], md5=hashlib.md5(data).hexdigest())
        if subsets[name].parts:
            path.unlink()
            size = -(-len(data) // len(subsets[name].parts))
            for number, part in enumerate(subsets[name].parts):
                (to / part.name).write_bytes(data[number * size : (number + 1) * size])
    monkeypatch.setitem(sources.SOURCES, "voxceleb", replace(SOURCES["voxceleb"], subsets=subsets))
    return {name: files[0].removeprefix("dev/") for name, files in members.items()}


def test_what_users_put_there_is_compared_and_unpacked(tmp_path, monkeypatch, capsys):
    to = tmp_path / "vox"
    files = placed(to, monkeypatch)
    assert download.main(["voxceleb", "--to", str(to)]) == 0
    assert "Fill in the form" in capsys.readouterr().out
    for folder, name in (("vox1/dev", "vox1_dev"), ("vox1/test", "vox1_test"), ("vox2/dev", "vox2_dev")):
        assert (to / folder / files[name]).read_text().endswith(files[name])
    assert (to / "vox1_dev_wav_partaa").is_file()  # archives of users stay


def test_what_is_missing_or_damaged_is_named(tmp_path, monkeypatch, capsys):
    to = tmp_path / "vox"
    placed(to, monkeypatch)
    (to / "vox2_dev_aac_partac").unlink()
    assert download.main(["voxceleb", "--to", str(to)]) == 2
    message = capsys.readouterr().err
    assert re.search(r"not there: vox2_dev_aac_partaa, .*vox2_dev_aac_partah; see the instructions above", message)
    assert (to / "vox1" / "dev" / "wav").is_dir()  # what was there has been unpacked
    (to / "vox2_dev_aac_partac").write_bytes(b"damaged")
    assert download.main(["voxceleb", "--to", str(to), "--subset", "vox2_dev"]) == 2
    assert re.search(r"vox2_dev_aac_partah: MD5 [0-9a-f]{32}, expected", capsys.readouterr().err)


def test_other_trial_lists_are_refused(tmp_path, monkeypatch, capsys):
    to = tmp_path / "vox"
    placed(to, monkeypatch)
    (to / "veri_test.txt").write_text("1 id10270/a/1.wav id10270/b/1.wav\n")
    (to / "list_test_all.txt").write_text("1 id10270/a/1.wav id10270/b/1.wav\n")
    assert download.main(["voxceleb", "--to", str(to)]) == 2
    message = capsys.readouterr().err
    assert "veri_test.txt: is not the published list (SHA-256 " in message
    assert "published: 0c4f180f" in message
    (to / "veri_test.txt").unlink()
    assert download.main(["voxceleb", "--to", str(to)]) == 2
    assert "list_test_all.txt: is not the published list (MD5 " in capsys.readouterr().err


def test_the_command_line(tmp_path, capsys, monkeypatch):
    assert download.main(["--list"]) == 0
    assert "train-clean-100.tar.gz, MD5 2a93770f6d5c6c964bc36631d331a522" in capsys.readouterr().out
    assert download.main(["timit", "--to", str(tmp_path)]) == 0
    assert "LDC93S1" in capsys.readouterr().out
    assert download.main(["librispeech"]) == 2
    assert "--to: expected a folder" in capsys.readouterr().err
    assert download.main(["librispeech", "--subset", "x", "--to", str(tmp_path)]) == 2
    with pytest.raises(SystemExit):
        download.main(["nonsense"])


def test_a_system_says_what_it_needs(capsys):
    recipe = Path(__file__).parents[2] / "recipes/librispeech"
    assert download.of_settings([recipe / "mini_resnet.toml"], []) == ("librispeech", ["train-clean-5", "dev-clean-2"])
    assert download.of_settings([recipe / "voicemap_siamese.toml"], []) == ("librispeech", [])  # the source's own
    given = [
        'prepare.train_subsets=["train-clean-100"]',
        'prepare.dev_subsets=["dev-clean"]',
        'prepare.test_subsets=["dev-clean"]',
    ]
    assert download.of_settings([recipe / "recipe.toml"], given)[1] == ["train-clean-100", "dev-clean"]
    toy = recipe.parent / "toy/recipe.toml"
    assert download.main(["--config", str(toy), "--to", "x"]) == 2
    assert "prepare.type = 'toy': no such source to download from" in capsys.readouterr().err
    assert download.main(["librispeech", "--config", str(toy), "--to", "x"]) == 2
    assert "expected no name and no --subset" in capsys.readouterr().err


def test_sources_are_whole():
    for name, each in SOURCES.items():
        assert bool(each.manual) != bool(each.base), name
        for archive in [part for found in each.subsets.values() for part in (found, *found.parts)]:
            assert re.fullmatch(r"[0-9a-f]{32}|", archive.md5), archive.name
            assert Path(archive.name).name == archive.name
            assert bool(archive.path) == (bool(each.base) and not archive.parts), archive.name
        assert all(found.creates for found in each.subsets.values())
        assert set(each.default) <= set(each.subsets)
    assert [name for name, each in SOURCES.items() for found in each.subsets.values() if not found.md5] == ["speechocean762"]


def test_nothing_is_left_behind_by_a_run_that_was_stopped(served, tmp_path, monkeypatch):
    folder, address, _ = served
    md5 = make_tar(folder / "a.tar.gz", "x/1")
    each = source(address, a=Archive(name="a.tar.gz", path="a.tar.gz", md5=md5, creates="x"))

    def stop(*words, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(download, "unpack", stop)
    with pytest.raises(KeyboardInterrupt):
        run(each, tmp_path / "to")
    assert not (tmp_path / "to" / ".downloads.lock").exists()
    monkeypatch.undo()
    run(each, tmp_path / "to")
    assert json.loads((tmp_path / "to" / ".downloads" / "a.tar.gz.done.json").read_text())["num_files"] == 1
