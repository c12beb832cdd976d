"""Files that are either whole or absent, and the hashes of their content."""

import contextlib
import errno
import gzip
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

from steps.core.errors import RecipeError

# What differs between two runs with equal figures; see `content_hash`.
RUN_KEYS = ("fingerprint", "commit", "dirty", "command", "seconds", "train_seconds", "machine", "date", "packages")
_BLOCK = 1 << 20


@contextlib.contextmanager
def atomic_write(path: Path | str, mode: str = "w") -> Iterator[IO[Any]]:
    """An open file that appears under `path` only when the block ends without an exception.

    Written under a temporary name in the same folder, flushed to disk, then renamed. A failure (a full disk,
    Ctrl-C) leaves whatever stood at `path` before.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    try:
        with open(temporary, mode, **text) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path | str, value: Any) -> None:
    """Write `value` as JSON with a fixed layout: same value, same bytes."""
    with atomic_write(path) as file:
        json.dump(value, file, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
        file.write("\n")


def read_json(path: Path | str) -> Any:
    """The value in a JSON file. Raises RecipeError if the file is missing or no JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecipeError(f"{path}: no such file") from None
    except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, numbers of thousands of digits, nested without end
        raise RecipeError(f"{path}: not valid JSON ({error}); damaged after writing: delete its folder and rerun") from None


def content_hash(path: Path) -> str:
    """SHA-256 (hex) of what a file says, not of how it was stored.

    `.gz` files are hashed unpacked, since their header holds a time. In `result.json` the keys that name the
    run rather than its figures (`RUN_KEYS`) are left out.
    """
    if path.name == "result.json":
        kept = {key: value for key, value in read_json(path).items() if key not in RUN_KEYS}
        return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()
    digest = hashlib.sha256()
    with gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def tree_hashes(folder: Path, names: tuple[str, ...], *, threads: int = 1) -> dict[str, str]:
    """Content hash of every file below `folder` that one of the glob patterns `names` matches, by relative name."""
    paths = {path for name in names for path in folder.glob(name)}
    files = {file for path in paths for file in (path.rglob("*") if path.is_dir() else (path,)) if file.is_file()}
    with ThreadPoolExecutor(threads) as pool:  # hashing lets other threads run
        hashes = pool.map(content_hash, sorted(files))
        return {str(file.relative_to(folder)): found for file, found in zip(sorted(files), hashes, strict=True)}


def place_tree(source: Path, target: Path) -> None:
    """Put every file below `source` at the same place below `target`, by hard link where possible.

    Linked rather than moved, so that a merge that is killed can be done again.
    """
    for file in sorted(source.rglob("*")):
        if file.is_file():
            place(file, target / file.relative_to(source))


def place(source: Path, target: Path) -> None:
    """Put one file at `target`, by hard link where possible, else by copying."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except FileExistsError:
        raise RuntimeError(f"{target}: two pieces of work wrote the same file (one is {source})") from None
    except OSError:
        shutil.copy2(source, target)


def fsync_tree(folder: Path) -> None:
    """Make everything below `folder` survive a power cut: done before a rename says that it is whole."""
    for path in folder.rglob("*"):
        fsync(path)
    fsync(folder)


def fsync(path: Path) -> None:
    """Make a file's content, or a rename inside a folder, survive a power cut, where the file system can."""
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def as_recipe_error(error: OSError) -> RecipeError | None:
    """The message for a system error that the user can repair (full disk, quota, rights), else None."""
    where = error.filename or "a file"
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return RecipeError(f"{where}: {error.strerror}; nothing finished was lost: make room and rerun")
    if error.errno in (errno.EIO, errno.ESTALE):
        return RecipeError(f"{where}: {error.strerror}; the disk or the network behind it fails: repair it and rerun")
    if error.errno in (errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP):
        return RecipeError(f"{where}: {error.strerror}; choose another path (that of the results: --exp)")
    if error.errno == errno.EROFS:
        return RecipeError(
            f"{where}: {error.strerror}; nothing can be written there: choose another path (that of the results: --exp)"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return RecipeError(f"{where}: {error.strerror}; the account that runs this needs the right to use it")
    return None
