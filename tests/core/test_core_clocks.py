"""The clocks of two hosts may differ by hours: no result, and no wait, depends on them."""

import ast
import os
from pathlib import Path

from tests.core.conftest import REPOSITORY, STAGES, Bench

# What a child with the wrong time sees and leaves behind: its clock, and the times of its files, which a host may set itself.
SKEW = """
import functools, os, sys, time
__path__[:] = {paths!r}
hours = os.environ.get("SKEW_HOURS") or ("--part" in sys.argv and 1 - 2 * int(sys.argv[sys.argv.index("--part") + 1]))
if hours:
    seconds, clock, local, gmt, form = 3600 * float(hours), time.time, time.localtime, time.gmtime, time.strftime
    time.time = lambda: clock() + seconds
    time.time_ns = lambda: int(time.time() * 1e9)
    # no function: logging would make a method of it
    time.localtime = functools.partial(lambda when=None: local(time.time() if when is None else when))
    time.gmtime = lambda when=None: gmt(time.time() if when is None else when)
    time.strftime = lambda how, when=None: form(how, when or time.localtime())
    def shifted(move):
        def moved(source, target, **more):
            for folder, _, names in os.walk(source):
                for path in [folder, *(os.path.join(folder, name) for name in names)]:
                    os.utime(path, (time.time(), time.time()))
            if os.path.isfile(source):
                os.utime(source, (time.time(), time.time()))
            move(source, target, **more)
        return moved
    os.rename, os.replace = shifted(os.rename), shifted(os.replace)
"""
CLOCKS = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "date.today", "path.getmtime", "path.getctime"}
FILE_TIMES = {"st_mtime", "st_mtime_ns", "st_ctime", "st_ctime_ns"}


def wrong_clocks(folder: Path, *paths: Path) -> None:
    """From now on stages of a bench that run with SKEW_HOURS have a clock that is so far ahead.

    Without it part 0 is an hour ahead, part 1 an hour behind, part 2 three hours behind. `paths`: where its stages are.
    """
    names = [*map(str, paths), str(REPOSITORY / "steps")]
    (folder / "steps" / "__init__.py").write_text(SKEW.format(paths=names))


def test_clocks_that_differ_change_nothing(tmp_path):
    bench = Bench(tmp_path)
    bench.source()
    bench.fake(out="undisturbed")
    wrong_clocks(tmp_path, STAGES)
    bench.calls()
    bench.fake("--jobs", "3", FAKE="crash:u4", expect=1)
    (kept,) = tmp_path.glob("out.partial/units/u0/*")
    assert kept.stat().st_mtime - tmp_path.stat().st_mtime > 3000, "no clock was wrong: nothing was tested"
    said = bench.fake("--jobs", "2", SKEW_HOURS="-2")  # from another host, which finds files of its future
    assert "resuming: 5 of 6" in said
    assert bench.calls().count("u0") == 1
    assert bench.content() == bench.content("undisturbed")
    assert "up to date" in bench.fake(SKEW_HOURS="2")


def test_a_lock_of_a_host_with_another_clock_is_no_older(tmp_path):
    bench = Bench(tmp_path)
    bench.source()
    process = bench.start("fake", "--source", "source", "--out", "out", FAKE="hang:u2")
    try:
        bench.wait_for("out.partial/units/u2.tmp/u2.txt")
        for when in (0, 2**31):  # 1970 and 2038
            os.utime(tmp_path / "out.lock", (when, when))
            assert f"being written by process {process.pid}" in bench.fake(expect=2)
    finally:
        process.kill()
        process.communicate()
    assert "resuming: 2 of 6" in bench.fake()


def _reads_a_clock(node: ast.AST) -> bool:
    attributes = [each for each in ast.walk(node) if isinstance(each, ast.Attribute)]
    return any(each.attr in FILE_TIMES or ast.unparse(each).endswith(tuple(CLOCKS)) for each in attributes)


def _compared_clocks(text: str) -> list[int]:
    """The lines in which the time of day, or a file's time, is added to, subtracted, or compared by order."""
    order = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
    return [
        node.lineno
        for node in ast.walk(ast.parse(text))
        if (isinstance(node, ast.BinOp | ast.AugAssign) or (isinstance(node, ast.Compare) and isinstance(node.ops[0], order)))
        and _reads_a_clock(node)
    ]


def test_no_program_computes_with_the_time_of_day_or_of_files():
    wrong = "a = time.time() + 3\nif path.stat().st_mtime < b:\n    c += d.st_mtime\n"
    assert sorted(_compared_clocks(wrong + "if e.st_mtime_ns == f:\n    g = self.time + 1")) == [1, 2, 3]
    found = {
        f"{path.relative_to(REPOSITORY)}:{line}"
        for top in ("steps", "local")
        for path in (REPOSITORY / top).rglob("*.py")
        for line in _compared_clocks(path.read_text(encoding="utf-8"))
    }
    assert not found, "what is waited for is measured with time.monotonic() of one process; files are compared by content"
