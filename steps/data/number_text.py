"""Numbers as text with nine significant digits, a whole column at a time; the very text of Python's `%.9g`.

A number is put together of eight bytes at a time: places that are not needed hold zeros, which whoever writes the text
leaves out.
"""

from __future__ import annotations

import numpy as np

TEXT_BYTES = 24

_POWERS = 10.0 ** np.arange(23)  # exact in double precision
_FOUR_DIGITS = np.array([list(b"%04d" % n) for n in range(10_000)], dtype=np.uint8).view("<u4").ravel().astype(np.uint64)
_ZEROS_AT_END = np.array([4 - len((b"%04d" % n).rstrip(b"0")) for n in range(10_000)])
_LOWEST_POWER, _HIGHEST_POWER = -4, 8  # between which `%g` writes no exponent
# What stands before the first digit, by power of ten: "0.", "0.0", ...; from place 1 of 8 on, for the first is the sign's.
_LEADS = np.array(
    [int.from_bytes(b"\0" + b"0.000"[: 1 - p if p < 0 else 0], "little") for p in range(_LOWEST_POWER, _HIGHEST_POWER + 1)],
    dtype=np.uint64,
)
_FIRST_BYTES = np.array([(1 << 8 * n) - 1 for n in range(9)], dtype=np.uint64)  # masks of 0..8 bytes


def format_numbers(values_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (text [N, 24] as uint8 with zeros where there is no character, the float64 numbers [N] that the text says).

    Args:
        values_N: finite numbers.
    """
    values_N = np.asarray(values_N, dtype=np.float64)
    size_N = np.abs(values_N)
    # Numbers with an exponent are left to Python, and so are those so near to the middle between two texts that the
    # rounding below might decide.
    is_plain = (size_N >= 1e-4) & (size_N < 999_999_999.0)
    size_N = np.where(is_plain, size_N, 1.0)
    # Beside a power of ten the logarithm may be rounded to it: both ways lead to the same nine digits.
    power_N = np.floor(np.log10(size_N)).astype(np.int64)
    scaled_N = size_N * _POWERS[8 - power_N]
    digits_N = np.rint(scaled_N)
    is_plain &= np.abs(scaled_N - np.floor(scaled_N) - 0.5) > 1e-6  # scaled_N is off by 6e-8 at most
    carried = digits_N >= 1e9
    digits_N = np.where(carried, 1e8, digits_N)
    power_N += carried
    words_N3 = _plain_words(digits_N.astype(np.uint32), power_N, values_N < 0)
    said_N = np.copysign(digits_N / _POWERS[8 - power_N], values_N)
    text_NB = words_N3.view(np.uint8)
    for row in np.flatnonzero(~is_plain):
        text = b"%.9g" % values_N[row]
        text_NB[row] = np.frombuffer(text.ljust(TEXT_BYTES, b"\0"), dtype=np.uint8)
        said_N[row] = float(text)
    return text_NB, said_N


def _plain_words(digits_N: np.ndarray, power_N: np.ndarray, negative_N: np.ndarray) -> np.ndarray:
    """Text [N, 3] as words of numbers of nine digits, the first of which stands for 10 ** power.

    The first word holds sign, zeros and point before the first digit, the first digit, and the point if it comes next;
    the second word further digits; the third the point if it comes after some of those, and what follows it.
    """
    first_N = digits_N // np.uint32(10**8)
    rest_N = digits_N - first_N * np.uint32(10**8)
    middle_N = rest_N // np.uint32(10**4)
    last_N = rest_N - middle_N * np.uint32(10**4)
    zeros_N = _ZEROS_AT_END[last_N] + np.where(last_N == 0, _ZEROS_AT_END[middle_N], 0)
    before_N = np.maximum(power_N, 0)  # of the eight digits after the first: those before the point
    kept_N = np.maximum(8 - zeros_N, before_N)
    rest_words_N = (_FOUR_DIGITS[middle_N] | (_FOUR_DIGITS[last_N] << np.uint64(32))) & _FIRST_BYTES[kept_N]
    point_N = np.where((power_N >= 0) & (kept_N > before_N), np.uint64(ord(".")), np.uint64(0))
    words_N3 = np.empty((len(digits_N), 3), dtype="<u8")
    words_N3[:, 0] = _LEADS[power_N - _LOWEST_POWER] | np.where(negative_N, np.uint64(ord("-")), np.uint64(0))
    words_N3[:, 0] |= (first_N.astype(np.uint64) + np.uint64(ord("0"))) << np.uint64(48)
    words_N3[:, 0] |= np.where(power_N == 0, point_N, np.uint64(0)) << np.uint64(56)
    inner = power_N > 0
    words_N3[:, 1] = np.where(inner, rest_words_N & _FIRST_BYTES[before_N], rest_words_N)
    behind_N = np.where(before_N < 8, rest_words_N >> (np.uint64(8) * before_N.astype(np.uint64) % np.uint64(64)), np.uint64(0))
    words_N3[:, 2] = np.where(inner, point_N | (behind_N << np.uint64(8)), np.uint64(0))
    return words_N3
