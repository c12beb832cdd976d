"""Columns against Python's own reading and writing, number by number and line by line."""

from pathlib import Path

import numpy as np
import pytest

from steps.core.errors import RecipeError
from steps.data import columns
from steps.data.columns import read_blocks
from steps.data.id_table import IdTable, words_of
from steps.data.number_text import format_numbers

RNG = np.random.default_rng(0)
NUMBERS = {
    "normal": RNG.normal(size=4000),
    "float32": RNG.normal(size=4000).astype(np.float32).astype(np.float64),
    "many sizes": np.exp(RNG.uniform(-30, 30, 4000)) * RNG.choice([-1, 1], 4000),
    "few digits": RNG.integers(-(10**6), 10**6, 4000) / 10.0 ** RNG.integers(0, 10, 4000),
    "half way": (RNG.integers(10**8, 10**9, 4000) + 0.5) / 10.0 ** RNG.integers(0, 12, 4000),
    "powers of ten": np.concatenate([f * 10.0 ** np.arange(-12, 14) for f in (1, -1, 1 - 2e-16, 1 + 3e-16, 1 - 5e-10)]),
    "ends": np.array([0.0, -0.0, 5e-324, 1.7e308, 999_999_999.0, 999_999_999.5, 999_999_998.5, 0.0001, 0.00009999999999]),
}  # fmt: skip


def blocks(path: Path, num_fields=3):
    return list(read_blocks(path, "file", num_fields, "{path}:{number}: malformed {line!r}"))


def column_of(texts: list[str], tmp_path: Path) -> np.ndarray:
    (tmp_path / "x.txt").write_text("".join(f"a b {text}\n" for text in texts))
    return np.concatenate([block.numbers(2) for block in blocks(tmp_path / "x.txt")])


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_are_written_as_python_does(name):
    text_NB, said_N = format_numbers(NUMBERS[name])
    expected = [f"{value:.9g}" for value in NUMBERS[name].tolist()]
    assert [row.tobytes().replace(b"\0", b"").decode() for row in text_NB] == expected
    np.testing.assert_array_equal(said_N, [float(text) for text in expected])
    np.testing.assert_array_equal(np.signbit(said_N), np.signbit(NUMBERS[name]))


@pytest.mark.parametrize("form", ["%.9g", "%.17g", "%.5f", "%r", "%+.3f"])
@pytest.mark.parametrize("name", ["normal", "many sizes", "few digits", "ends"])
def test_numbers_are_read_as_python_does(tmp_path, name, form):
    texts = [form % value for value in NUMBERS[name].tolist()]
    expected = np.array([float(text) for text in texts])
    found = column_of(texts, tmp_path)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(np.signbit(found), np.signbit(expected))


def test_odd_spellings_are_read_too(tmp_path):
    texts = [
        "-0",
        ".5",
        "5.",
        "-.5",
        "00012.50",
        "1234567890123456",
        "12345678901234567",
        "9007199254740993",
        "1E5",
        "inf",
        "nan",
    ]
    texts += [
        "0.00000000000001",
        "0.000000000000001",
        "12345678.9",
        "1234567.89",
        "123456789",
        "99999999",
        "0.1234567",
        "-1.2345678",
    ]
    np.testing.assert_array_equal(column_of(texts, tmp_path), [float(text) for text in texts])


@pytest.mark.parametrize("text", [".", "-", "-.", "1.2.3", "1..2", "1a", "a", "--1", "1-", "12,5", "0x1", "1.2345678.9"])
def test_what_is_no_number_is_found(tmp_path, text):
    with pytest.raises(ValueError, match="1") as caught:
        column_of(["1.0", text, "2"], tmp_path)
    assert caught.value.args == (1, text)


def test_lines_are_split_wherever_blocks_end(tmp_path, monkeypatch):
    lines = [f"{'x' * (n % 40 + 1)} y{n} {n}" for n in range(500)]
    (tmp_path / "x.txt").write_text("\n".join(lines))  # no end of line at the end
    for size in (90, 127, 4096):
        monkeypatch.setattr(columns, "BLOCK_BYTES", size)
        found = blocks(tmp_path / "x.txt")
        assert [block.line(row) for block in found for row in range(len(block))] == lines
        assert np.concatenate([block.number_L for block in found]).tolist() == list(range(1, 501))
    assert len(found) > 2


def test_untidy_lines_keep_their_numbers(tmp_path):
    (tmp_path / "x.txt").write_bytes("\ufeffa b 1\r\n\n \t\n  c\td   2 \r\né è 3".encode())
    found = blocks(tmp_path / "x.txt")
    assert [block.line(row) for block in found for row in range(len(block))] == ["a b 1", "c d 2", "é è 3"]
    assert [number for block in found for number in block.number_L.tolist()] == [1, 4, 5]
    assert [value for block in found for value in block.numbers(2).tolist()] == [1, 2, 3]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a b 1\nc d\ne f g 2\n", r"x.txt:2: malformed 'c d'"),
        (b"a b 1\n\nc d 2 3\n", r"x.txt:3: malformed 'c d 2 3'"),
        (b"a b 1\n b 1\n", r"x.txt:2: malformed ' b 1'"),
        (b"a  1\n", r"x.txt:1: malformed 'a  1'"),
        (b"a b\0 1\n", r"x.txt:1: malformed"),
        (b"a b 1\n\xff\xfe\n", "UTF-8"),
        (b"", None),
    ],
)
def test_malformed_lines_are_named(tmp_path, content, message):
    (tmp_path / "x.txt").write_bytes(content)
    if message is None:
        assert blocks(tmp_path / "x.txt") == []
        return
    with pytest.raises(RecipeError, match=message):
        blocks(tmp_path / "x.txt")


def test_a_file_without_ends_of_line_is_refused_before_it_fills_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(columns, "BLOCK_BYTES", 1000)
    (tmp_path / "x.txt").write_bytes(b"x" * 5000)
    with pytest.raises(RecipeError, match="no end of line in 2003 bytes"):
        blocks(tmp_path / "x.txt")


def test_words_are_the_bytes_of_a_column_and_of_neighbours(tmp_path):
    (tmp_path / "x.txt").write_text("a bcdefghij 1\nabcdefgh i 2\n" + f"{'x' * 1000} y 3\n")
    (block,) = blocks(tmp_path / "x.txt")
    assert [row.tobytes().rstrip(b"\0") for row in block.words(1)] == [b"bcdefghij", b"i", b"y"]
    assert [row.tobytes().rstrip(b"\0") for row in block.words(0, 1)][:2] == [b"a bcdefghij", b"abcdefgh i"]
    (tmp_path / "x.txt").write_text(f"a b 1\n{'x' * 1001} y 3\n")
    with pytest.raises(RecipeError, match="x.txt:2: expected ids of at most 1000 bytes, found 1001"):
        blocks(tmp_path / "x.txt")[0].words(0)


def test_a_table_numbers_ids_as_a_dictionary_does():
    rng = np.random.default_rng(1)
    table, known = IdTable(), {}
    for width in (3, 40, 9):  # wider words come later, and narrow ones after them
        ids = [bytes(rng.integers(97, 100, size=rng.integers(1, width)).tolist()) for _ in range(3000)]
        numbers = table.numbers(words_of(ids))
        for name, number in zip(ids, numbers.tolist(), strict=True):
            assert known.setdefault(name, number) == number
    assert len(table) == len(known) == len(set(known.values()))
    assert {name: number for number, name in enumerate(table.ids)} == known
    assert table.numbers(words_of([b"unknown", *table.ids[:2]]), add=False).tolist() == [-1, 0, 1]


def test_ids_with_one_hash_stay_two(monkeypatch):
    monkeypatch.setattr(IdTable, "_home", lambda self, words: np.zeros(len(words), dtype=np.int64))
    ids = [b"beginning%d" % (n % 50) for n in range(200)]  # alike in their first word, too
    table = IdTable()
    numbers = table.numbers(words_of(ids))
    assert [table.ids[n] for n in numbers] == ids
