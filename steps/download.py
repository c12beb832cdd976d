"""Fetch a corpus that may be fetched freely, or say how to get one that may not.

    python -m steps.download --list
    python -m steps.download librispeech --to DIR                        all that recipes/librispeech needs
    python -m steps.download librispeech --subset train-clean-5 --subset dev-clean-2 --to DIR
    python -m steps.download --config recipes/librispeech/mini_resnet.toml --to DIR      what this system is trained and tested on
    python -m steps.download voxceleb --to DIR                           how to get it; compares and unpacks what lies in DIR

Archives come to DIR/.downloads, are compared with their checksums and unpacked to DIR, where the recipe of that name looks for
them with `--data DIR`. Given again, the command goes on where it was stopped and passes over what is done. Exit status: 0 done,
2 the user can repair it, 1 a bug.
"""

import argparse
import logging
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from local.celebrities import known
from local.fetching.joined import check_md5
from local.fetching.sources import SOURCES, Archive, Source
from local.fetching.transfer import fetch
from local.fetching.unpack import unpack
from steps.core.config import load_layers
from steps.core.errors import EXIT_USER, RecipeError
from steps.core.failures import as_recipe_error, make_folder
from steps.core.files import read_json, write_json
from steps.core.lock import locked
from steps.core.log import configure

DOWNLOADS = ".downloads"  # folder of archives and of what is known about them


def table() -> str:
    """Return a line for each subset of each source: what can be fetched, and its documented size and checksum."""
    lines = []
    for name, source in SOURCES.items():
        lines.append(f"{name}: {source.title}, {source.home}{' (not fetched by a program)' * bool(source.manual)}")
        for subset, archive in source.subsets.items():
            size = f", {archive.num_bytes:,} bytes" if archive.num_bytes else ""
            lines.append(f"    {subset}: {archive.name}{size}, MD5 {archive.md5 or 'not documented'}")
    return "\n".join(lines)


def download(
    source: Source,
    to: Path,
    subsets: Sequence[str] = (),
    *,
    base: str = "",
    retries: int = 5,
    keep: bool = True,
    log: logging.Logger,
) -> None:
    """Fetch (or look for), compare and unpack the archives of the subsets (none: those that recipes need).

    Raises:
        RecipeError: an unknown subset, or whatever keeps an archive from being fetched, compared or unpacked.
    """
    unknown = [name for name in subsets if name not in source.subsets]
    if unknown:
        raise RecipeError(f"--subset {unknown[0]}: expected one of {', '.join(source.subsets) or '(there are none)'}")
    folder = to / DOWNLOADS
    with locked(folder):
        missing = []
        for name in subsets or source.default or source.subsets:
            archive = source.subsets[name]
            if _is_done(archive, to, log):
                continue
            paths = _paths(source, archive, to)
            if paths is None and source.manual:
                missing.append(archive)
                continue
            paths = paths or _fetch_all(source, archive, folder, base, retries, log)
            _check(archive, paths, folder, log)
            count = unpack(paths, to / archive.into if archive.into else to, name=archive.name, drop=archive.drop, log=log)
            write_json(_marker(archive, to), {"archive": archive.name, "md5": archive.md5, "num_files": count})
            log.info("%s: %s files unpacked to %s", archive.name, f"{count:,}", to / archive.creates)
            if not keep:
                for path in paths:
                    path.unlink()
        if missing:
            names = [part.name for archive in missing for part in archive.parts or (archive,)]
            raise RecipeError(
                f"{to}: not there: {', '.join(names)}; see the instructions above, then give the same command again"
            )


def check_lists(to: Path, log: logging.Logger) -> None:
    """Compare VoxCeleb's trial lists in a folder with the published ones.

    Raises:
        RecipeError: one of them is another list.
    """
    for file, name in known.LIST_NAMES.items():
        path = to / file
        if not path.is_file():
            log.info("%s: not there", file)
        elif hashes := known.hash_problem(name, path):
            raise RecipeError(f"{path}: is not the published list ({hashes}); fetch it anew")
        else:
            log.info("%s: the published list", file)


def _is_done(archive: Archive, to: Path, log: logging.Logger) -> bool:
    if not (to / archive.creates).exists():
        return False
    by = "unpacked before" if _marker(archive, to).is_file() else "there already, and not by this command: not compared"
    log.info("%s: %s (%s)", archive.name, by, to / archive.creates)
    return True


def _marker(archive: Archive, to: Path) -> Path:
    return to / DOWNLOADS / f"{archive.name}.done.json"


def _paths(source: Source, archive: Archive, to: Path) -> list[Path] | None:
    """Return the files of an archive that lie in the folder or in its .downloads, whole or all parts; None: not all are there."""
    for names in ([archive.name], [part.name for part in archive.parts]):
        found = [next((place for place in (to / name, to / DOWNLOADS / name) if place.is_file()), None) for name in names]
        if found and all(found):
            return found
    return None


def _fetch_all(source: Source, archive: Archive, folder: Path, base: str, retries: int, log: logging.Logger) -> list[Path]:
    paths = []
    for part in archive.parts or (archive,):
        path = folder / part.name
        if not path.is_file():
            make_folder(folder)
            room, partly = shutil.disk_usage(folder).free, folder / f"{part.name}.part"
            needed = part.num_bytes - (partly.stat().st_size if partly.exists() else 0)
            if needed > room:
                raise RecipeError(
                    f"{folder}: {part.name} needs {needed:,} more bytes, {room:,} are free; make room, or choose another --to"
                )
            addresses = [f"{each.rstrip('/')}/{part.path}" for each in ((base,) if base else (source.base, *source.mirrors))]
            log.info("%s: from %s", part.name, addresses[0])
            fetch(addresses, path, num_bytes=part.num_bytes, retries=retries, log=log)
        if archive.parts:
            _check(part, [path], folder, log)
        paths.append(path)
    return paths


def _check(archive: Archive, paths: list[Path], folder: Path, log: logging.Logger) -> None:
    """Compare with the checksum, unless these very files have been compared before."""
    make_folder(folder)
    note = folder / f"{archive.name}.checked.json"
    state = {"md5": archive.md5, "files": [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in paths]}
    if note.is_file() and read_json(note) == state:
        return
    found = check_md5(paths, archive.md5, log)
    write_json(note, state)
    if archive.md5:
        log.info("%s: MD5 as documented", archive.name)
    else:
        log.warning("%s: no checksum is documented; it has MD5 %s", archive.name, found)


def of_settings(files: Sequence[Path], assignments: Sequence[str]) -> tuple[str, list[str]]:
    """Return (source, subsets) that a system's [prepare] names; no subsets: those that recipes need.

    Raises:
        RecipeError: settings that cannot be read, or a corpus that no source has.
    """
    prepare = load_layers(files, assignments).tables.get("prepare", {})
    name = prepare.get("type", "")
    if name not in SOURCES:
        raise RecipeError(
            f"{files[-1]}: prepare.type = '{name}': no such source to download from; there are: {', '.join(sorted(SOURCES))}"
        )
    given = [prepare.get(f"{each}_subsets") for each in ("train", "dev", "test")]
    return name, list(dict.fromkeys(subset for each in given for subset in each)) if None not in given else []


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m steps.download",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("name", nargs="?", choices=sorted(SOURCES), help="the corpus")
    parser.add_argument("--list", action="store_true", help="say what there is")
    parser.add_argument("--config", action="append", default=[], type=Path, help="instead: a system's file, whose corpus it is")
    parser.add_argument("--set", action="append", default=[], dest="assignments", help="a setting of that system")
    parser.add_argument("--to", type=Path, help="folder to put it into")
    parser.add_argument("--subset", action="append", default=[], help="a part of it; may be repeated")
    parser.add_argument("--from", dest="base", default="", help="another address with the same files, such as a mirror")
    parser.add_argument("--retries", type=int, default=5, help="attempts in a row that bring nothing, after which it ends")
    parser.add_argument("--remove-archives", action="store_true", help="delete each archive once it is unpacked")
    options = parser.parse_args(arguments)
    if options.list or (options.name is None and not options.config):
        print(table())
        return 0
    log = configure("download")
    try:
        if options.config:
            if options.name or options.subset:
                raise RecipeError("--config: says which corpus and subsets; expected no name and no --subset")
            options.name, options.subset = of_settings(options.config, options.assignments)
        source = SOURCES[options.name]
        if source.manual:
            print(source.manual, end="")
        if options.to is None and source.subsets and not source.manual:
            raise RecipeError("--to: expected a folder to put the corpus into")
        if options.to is not None and source.subsets:
            if options.name == "voxceleb":
                check_lists(options.to, log)
            keep, retries = not options.remove_archives, options.retries
            download(source, options.to, options.subset, base=options.base, retries=retries, keep=keep, log=log)
    except KeyboardInterrupt:
        log.error("stopped; the same command goes on")
        return EXIT_USER
    except Exception as error:
        known_error = as_recipe_error(error)
        if known_error is None:
            raise
        log.error("error: %s", known_error)
        return EXIT_USER
    return 0


if __name__ == "__main__":
    sys.exit(main())
