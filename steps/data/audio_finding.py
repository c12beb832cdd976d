"""What the length that a header announces and the bytes that are there say together, in whatever container."""

from typing import BinaryIO, NamedTuple

# Lengths of 32 bits that programs write who cannot go back to the header: ffmpeg and Sun's AU all bits, arecord 2 GiB, others
# the highest signed number; SoX 0x7ffff000 (its wav.c: MS_UNSPEC) and 0x7f000000 (aiff.c), GStreamer 0x7fff0000. All of them
# less what does not fill a block, or less a header.
_NOT_KNOWN = (0xFFFFFFFF, 0x80000000, 0x7FFFFFFF, 0x7FFFF000, 0x7FFF0000, 0x7F000000)
_LESS = 128  # bytes
_SLOPPY = 3  # bytes that a sloppy header may announce too many, if they are less than a sample, or one
_TRAILING_BYTES = 64  # that may follow the samples and are no chunk
_TRAILING_SHARE = 0.01  # of the samples: zeros that may follow them, such as up to a sector's end


class Finding(NamedTuple):
    """What is wrong with a file, and what is only to be said of it; "" = nothing."""

    problem: str = ""
    remark: str = ""
    num_samples: int | None = None  # per channel, that the bytes hold; None where that was not found out


def stands_for_unknown(length: int) -> bool:
    """Return whether programs write this length, of 32 bits, where they know none. It may be true all the same."""
    return any(0 <= value - length <= _LESS for value in _NOT_KNOWN)


def bytes_behind(file: BinaryIO, begin: int, size: int, announced: int) -> int:
    """Return how many bytes lie behind a place in a file of so many, less zeros at its end if they are few beside the samples."""
    num = max(0, size - begin)
    if num > max(_TRAILING_BYTES, _TRAILING_SHARE * announced):
        return num
    file.seek(begin)
    return len(file.read(num).rstrip(b"\0"))


def compared(announced: int, there: int, *, behind: int = 0, block: int = 0, is_said: bool = True) -> Finding:
    """Return what follows of the bytes of samples that a header announces and those that are there.

    Args:
        announced: by the header.
        there: from the first sample to the end of the file.
        behind: of these, those behind the announced ones that are nothing known; see `bytes_behind`.
        block: bytes of a sample of all channels; 0 = it is not known, or there is no such number.
        is_said: whether the header means what it announces; if not, and if the bytes do not bear it out, it counts for nothing.
    """
    sloppy = min(_SLOPPY, max(1, block - 1)) if block else _SLOPPY
    is_short, is_long = announced > there + sloppy, behind > _TRAILING_BYTES
    if (is_short or is_long) and not is_said:
        remark = "its header does not say how long it is: it was written to a pipe, or is still being written"
        return Finding(remark=remark, num_samples=there // block if block else None)
    if is_short:
        return Finding(f"is cut short: its header announces {announced} bytes of samples, {max(0, there)} are there")
    if is_long:
        return Finding(f"has {behind} bytes behind the {announced} bytes of samples that its header announces")
    return Finding(num_samples=min(announced, there) // block if block else None)
