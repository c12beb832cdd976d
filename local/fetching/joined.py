"""Files that are the parts of one: read as one without being joined, and compared with its checksum."""

import hashlib
import io
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from steps.core.errors import RecipeError
from steps.core.log import progress

BLOCK = 1 << 20  # bytes


class JoinedFile(io.RawIOBase):
    """Consecutive files as one that can be read and sought in; behind an `io.BufferedReader`, as a read ends with a file."""

    def __init__(self, paths: Sequence[Path]) -> None:
        super().__init__()
        self._files = [open(path, "rb") for path in paths]  # noqa: SIM115 - closed by close
        sizes = [path.stat().st_size for path in paths]
        self._starts = [sum(sizes[:index]) for index in range(len(sizes))]
        self._size, self._place = sum(sizes), 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        self._place = max(0, base + offset)
        return self._place

    def readinto(self, buffer: Any) -> int:
        index = next((i for i in reversed(range(len(self._starts))) if self._starts[i] <= self._place), 0)
        while index < len(self._files):
            self._files[index].seek(self._place - self._starts[index])
            count = self._files[index].readinto(buffer)
            if count or not len(buffer):
                self._place += count
                return count
            index += 1
        return 0

    def close(self) -> None:
        for file in self._files:
            file.close()
        super().close()


def check_md5(paths: Sequence[Path], md5: str, log: logging.Logger) -> str:
    """Return the MD5 of the files one after the other.

    Raises:
        RecipeError: it is not `md5`, where that is given.
    """
    title, total = paths[0].name if len(paths) == 1 else f"{paths[0].name} ...", sum(path.stat().st_size for path in paths)
    digest = hashlib.md5(usedforsecurity=False)
    blocks = progress(_blocks(paths), title=f"checksum of {title} (MiB)", total=-(-total // BLOCK), logger=log)
    for block in blocks:
        digest.update(block)
    found = digest.hexdigest()
    if md5 and found != md5:
        names = ", ".join(str(path) for path in paths)
        raise RecipeError(
            f"{names}: MD5 {found}, expected {md5} ({total:,} bytes); it was damaged on its way, or is another file: delete "
            "it and give the same command again"
        )
    return found


def _blocks(paths: Sequence[Path]) -> Iterator[bytes]:
    for path in paths:
        with open(path, "rb") as file:
            while block := file.read(BLOCK):
                yield block
