"""Files are whole or absent; hashes see what a file says, not how it was stored."""

import errno
import gzip
import hashlib
import json
import os

import pytest

from steps.core import files
from steps.core.errors import RecipeError


def test_a_written_file_appears_at_the_end_of_the_block(tmp_path):
    path = tmp_path / "a.txt"
    with files.atomic_write(path) as file:
        file.write("é\n")
        file.flush()
        assert not path.exists()
    assert path.read_bytes() == "é\n".encode()
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("mode", ["w", "wb"])
@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, OSError])
def test_an_exception_inside_keeps_the_old_file_and_leaves_nothing(tmp_path, failure, mode):
    path = tmp_path / "a.txt"
    path.write_bytes(b"old")
    with pytest.raises(failure), files.atomic_write(path, mode) as file:  # noqa: PT012
        file.write("new" if mode == "w" else b"new")
        raise failure
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_full_disk_while_syncing_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"), files.atomic_write(path) as file:
        file.write("new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_json_has_one_layout_whatever_the_order_of_keys(tmp_path):
    files.write_json(tmp_path / "a", {"b": 1, "a": [0.1, "é"]})
    files.write_json(tmp_path / "b", {"a": [0.1, "é"], "b": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert files.read_json(tmp_path / "a") == {"a": [0.1, "é"], "b": 1}


def test_json_holds_no_number_that_others_cannot_read(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "a", {"eer": float("nan")})
    assert os.listdir(tmp_path) == []


def test_a_missing_or_damaged_json_is_refused_by_name(tmp_path):
    with pytest.raises(RecipeError, match=r"a\.json: no such file"):
        files.read_json(tmp_path / "a.json")
    (tmp_path / "b.json").write_text("{")
    with pytest.raises(RecipeError, match=r"b\.json: not valid JSON"):
        files.read_json(tmp_path / "b.json")


def test_the_hash_of_a_plain_file_is_sha256(tmp_path):
    content = os.urandom(3 << 20)  # more than one block
    (tmp_path / "a").write_bytes(content)
    assert files.content_hash(tmp_path / "a") == hashlib.sha256(content).hexdigest()


def test_the_hash_of_a_gz_file_ignores_its_time_stamp_but_not_its_content(tmp_path):
    for name, time, content in (("a.gz", 1, b"x"), ("b.gz", 2, b"x"), ("c.gz", 1, b"y")):
        (tmp_path / name).write_bytes(gzip.compress(content, mtime=time))
    assert (tmp_path / "a.gz").read_bytes() != (tmp_path / "b.gz").read_bytes()
    assert files.content_hash(tmp_path / "a.gz") == hashlib.sha256(b"x").hexdigest()
    assert files.content_hash(tmp_path / "a.gz") == files.content_hash(tmp_path / "b.gz")
    assert files.content_hash(tmp_path / "a.gz") != files.content_hash(tmp_path / "c.gz")


def _result_hash(tmp_path, **record):
    path = tmp_path / "result.json"
    path.write_text(json.dumps(record))
    return files.content_hash(path)


@pytest.mark.parametrize("key", files.RUN_KEYS)
def test_the_hash_of_a_result_ignores_what_names_the_run(tmp_path, key):
    assert _result_hash(tmp_path, eer=0.1) == _result_hash(tmp_path, eer=0.1, **{key: "anything"})


def test_the_hash_of_a_result_sees_its_figures(tmp_path):
    assert _result_hash(tmp_path, eer=0.1) != _result_hash(tmp_path, eer=0.2)
    assert _result_hash(tmp_path, eer=0.1) != _result_hash(tmp_path, eer=0.1, cllr=0.2)


def test_tree_hashes_take_files_and_whole_folders_once(tmp_path):
    for name in ("a.txt", "plots/x/y.png", "plots/z.png", "log.jsonl"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    found = files.tree_hashes(tmp_path, ("*.txt", "plots", "plots/*.png"))
    assert list(found) == ["a.txt", "plots/x/y.png", "plots/z.png"]
    assert found["a.txt"] == hashlib.sha256(b"a.txt").hexdigest()


def test_system_errors_that_a_user_can_repair_become_messages():
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS, errno.EIO, errno.ENOTDIR):
        message = str(files.as_recipe_error(OSError(number, os.strerror(number), "exp/x")))
        assert "exp/x" in message
        assert os.strerror(number) in message
    assert "choose another path" in str(files.as_recipe_error(OSError(errno.EROFS, os.strerror(errno.EROFS), "exp/x")))
    assert "full" not in str(files.as_recipe_error(OSError(errno.ENOENT, "no such file", "x")))
    assert files.as_recipe_error(OSError(errno.ENOENT, "no such file", "x")) is None
    assert files.as_recipe_error(OSError("a word without a number")) is None
