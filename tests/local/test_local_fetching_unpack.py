"""Claims about unpacking: what is whole arrives, what would do harm is refused and leaves nothing."""

import io
import logging
import os
import stat
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from local.fetching.joined import JoinedFile
from local.fetching.unpack import unpack
from steps.core.errors import RecipeError

LOG = logging.getLogger("test_unpack")
FILES = {"Libri/dev/1/a.flac": b"one" * 50_000, "Libri/dev/2/-b.flac": b"two", "Libri/README": "größe\n".encode()}


def member(name: str, data: bytes | None = None, **fields) -> tuple[tarfile.TarInfo, bytes | None]:
    info = tarfile.TarInfo(name)
    for key, value in fields.items():
        setattr(info, key, value)
    info.size = len(data) if data is not None else 0
    return info, data


def make_tar(path: Path, members, mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data) if data is not None else None)
    return path


def plain(files=FILES):
    return [member(name, data) for name, data in files.items()]


def make_zip(path: Path, members: dict[str, bytes], modes: dict[str, int] | None = None) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name)
            info.create_system, info.external_attr = 3, (modes or {}).get(name, stat.S_IFREG | 0o644) << 16
            archive.writestr(info, data)
    return path


def run(path: Path | list[Path], target: Path, drop: str = "") -> int:
    paths = path if isinstance(path, list) else [path]
    return unpack(paths, target, name=paths[0].name.removesuffix(".aa"), drop=drop, log=LOG)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("kind", ["tar.gz", "tar", "zip"])
def test_archives_arrive_whole(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    if kind == "zip":
        make_zip(path, FILES)
    else:
        make_tar(path, plain(), "w:gz" if kind == "tar.gz" else "w")
    assert run(path, tmp_path / "to") == 3
    assert contents(tmp_path / "to") == dict(sorted(FILES.items()))
    assert sorted(each.name for each in tmp_path.iterdir()) == [path.name, "to"]


@pytest.mark.parametrize("kind", ["tar.gz", "zip"])
def test_parts_are_read_without_being_joined(tmp_path, kind):
    noise = {f"wav/{n}.wav": np.random.default_rng(n).bytes(20_000) for n in range(20)}
    whole = make_zip(tmp_path / "w", noise) if kind == "zip" else make_tar(tmp_path / "w", plain(noise))
    data, paths = whole.read_bytes(), []
    for number, start in enumerate(range(0, len(data), 33_333)):
        paths.append(tmp_path / f"v.{kind}.a{'abcdefghijklmnop'[number]}")
        paths[-1].write_bytes(data[start : start + 33_333])
    assert len(paths) > 5
    assert run(paths, tmp_path / "to") == 20
    assert contents(tmp_path / "to") == dict(sorted(noise.items()))


def test_a_joined_file_reads_as_the_whole(tmp_path):
    data = np.random.default_rng(0).bytes(1000)
    paths = [tmp_path / str(number) for number in range(4)]
    for path, (start, end) in zip(paths, ((0, 10), (10, 10), (10, 700), (700, 1000)), strict=True):
        path.write_bytes(data[start:end])
    with io.BufferedReader(JoinedFile(paths), 64) as file:
        for start, count in ((0, 1000), (5, 10), (9, 1), (10, 0), (699, 2), (990, 100), (1000, 5), (3, 800)):
            assert file.seek(start) == start
            assert file.read(count) == data[start : start + count]
        assert file.seek(-10, io.SEEK_END) == 990
        assert file.read() == data[990:]


def test_a_first_folder_can_be_left_out_where_it_is_there(tmp_path):
    for number, names in enumerate((("dev/aac/id1/v/1.m4a", "dev/aac/id2/v/1.m4a"), ("aac/id1/v/1.m4a", "aac/id2/v/1.m4a"))):
        path = make_zip(tmp_path / f"{number}.zip", dict.fromkeys(names, b"x"))
        run(path, tmp_path / f"to{number}", drop="dev")
        assert sorted(contents(tmp_path / f"to{number}")) == ["aac/id1/v/1.m4a", "aac/id2/v/1.m4a"]


def test_what_is_there_stays_and_the_same_names_are_replaced(tmp_path):
    (tmp_path / "to" / "Libri" / "train").mkdir(parents=True)
    (tmp_path / "to" / "Libri" / "train" / "kept").write_text("mine")
    (tmp_path / "to" / "Libri" / "README").write_text("older")
    run(make_tar(tmp_path / "a.tar.gz", plain()), tmp_path / "to")
    found = contents(tmp_path / "to")
    assert found.pop("Libri/train/kept") == b"mine"
    assert found == FILES
    (tmp_path / "to" / "Libri" / "dev" / "2" / "-b.flac").unlink()
    (tmp_path / "to" / "Libri" / "dev" / "2" / "-b.flac").mkdir()
    with pytest.raises(RecipeError, match="is a folder where the archive has a file"):
        run(tmp_path / "a.tar.gz", tmp_path / "to")


def test_links_within_the_archive_are_kept(tmp_path):
    links = [
        member("Libri/dev/l.flac", type=tarfile.SYMTYPE, linkname="1/a.flac"),
        member("Libri/up", type=tarfile.SYMTYPE, linkname="../Libri/dev"),
        member("Libri/dev/h.flac", type=tarfile.LNKTYPE, linkname="Libri/dev/1/a.flac"),
    ]
    assert run(make_tar(tmp_path / "a.tar.gz", plain() + links), tmp_path / "to") == 4
    for name in ("l.flac", "h.flac"):
        assert (tmp_path / "to" / "Libri" / "dev" / name).read_bytes() == FILES["Libri/dev/1/a.flac"]
    assert os.readlink(tmp_path / "to" / "Libri" / "up") == "../Libri/dev"


def test_rights_are_the_usual_ones(tmp_path):
    members = [member("s", b"x", mode=0o6777), member("d", mode=0o000, type=tarfile.DIRTYPE), member("d/f", b"x", mode=0o000)]
    before = os.umask(0)
    try:
        run(make_tar(tmp_path / "a.tar.gz", members), tmp_path / "to")
    finally:
        os.umask(before)
    assert [stat.S_IMODE((tmp_path / "to" / name).stat().st_mode) & 0o7022 for name in ("s", "d/f")] == [0, 0]


SYMLINK, HARDLINK = {"type": tarfile.SYMTYPE}, {"type": tarfile.LNKTYPE}
HARMFUL = {
    "parent": [member("Libri/../../evil", b"x")],
    "parent_within": [member("Libri/../evil", b"x")],
    "absolute": [member("{out}/evil", b"x")],
    "backslash": [member("..\\evil", b"x")],
    "absolute_symlink": [member("l", linkname="/etc", **SYMLINK)],
    "symlink_out": [member("Libri/l", linkname="../../outside", **SYMLINK)],
    "through_symlink": [member("l", linkname="..", **SYMLINK), member("l/evil", b"x")],
    # Each harmless when it is made; b turns a into a link that leads out.
    "two_symlinks": [member("a", linkname="b/..", **SYMLINK), member("b", linkname=".", **SYMLINK)],
    "through_two_symlinks": [
        member("a", linkname="b/..", **SYMLINK), member("b", linkname=".", **SYMLINK), member("a/evil", b"x"),
    ],
    "hardlink_out": [member("h", linkname="../outside", **HARDLINK)],
    "absolute_hardlink": [member("h", linkname="/etc/passwd", **HARDLINK)],
    "hardlink_to_symlink": [member("a", b"x"), member("l", linkname="a", **SYMLINK), member("h", linkname="l", **HARDLINK)],
    "device": [member("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3)],
    "fifo": [member("pipe", type=tarfile.FIFOTYPE)],
}  # fmt: skip


@pytest.mark.parametrize("kind", HARMFUL)
def test_harmful_tars_are_refused_and_leave_nothing(tmp_path, kind):
    (tmp_path / "outside").write_text("mine")
    members = [*plain(), *HARMFUL[kind]]
    for info, _ in members:
        info.name = info.name.replace("{out}", str(tmp_path))
    path = make_tar(tmp_path / "a.tar.gz", members)
    before = contents(tmp_path)
    with pytest.raises(RecipeError, match=r"a.tar.gz: member .*nothing of this archive was kept"):
        run(path, tmp_path / "to")
    assert contents(tmp_path) == before
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.tar.gz", "outside"]


@pytest.mark.parametrize(
    ("name", "data", "mode"),
    [
        ("../evil", b"x", stat.S_IFREG | 0o644),
        ("/tmp/evil", b"x", stat.S_IFREG | 0o644),
        ("l", b"../../etc", stat.S_IFLNK | 0o777),
        ("l", b"/etc", stat.S_IFLNK | 0o777),
        ("dev", b"", stat.S_IFCHR | 0o644),
    ],
)
def test_harmful_zips_are_refused(tmp_path, name, data, mode):
    path = make_zip(tmp_path / "a.zip", {**FILES, name: data}, {name: mode})
    with pytest.raises(RecipeError, match=r"a.zip: member .*nothing of this archive was kept"):
        run(path, tmp_path / "to")
    assert [each.name for each in tmp_path.iterdir()] == ["a.zip"]


@pytest.mark.parametrize("kind", ["tar.gz", "zip"])
def test_damaged_archives_are_named_and_leave_nothing(tmp_path, kind):
    noise = {f"{n}": np.random.default_rng(n).bytes(5000) for n in range(10)}
    path = tmp_path / f"a.{kind}"
    make_zip(path, noise) if kind == "zip" else make_tar(path, plain(noise))
    data = path.read_bytes()
    for number, bad in enumerate(
        (data[: len(data) // 2], data[:20_000] + bytes(200) + data[20_200:], b"", b"<html>not found</html>")
    ):
        path.write_bytes(bad)
        with pytest.raises(RecipeError, match=rf"a.{kind}: damaged archive"):
            run(path, tmp_path / f"to{number}")
        assert [each.name for each in tmp_path.iterdir()] == [path.name]
