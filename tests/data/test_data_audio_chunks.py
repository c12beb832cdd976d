"""Claims about steps.data.audio_chunks: what headers announce is held against the bytes, whatever the size."""

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from steps.data.audio import check_audio, inspect_audio, read_audio
from steps.data.audio_headers import check_length
from tests.data.containers import RATE, chunk, riff

NOISE_W = np.random.default_rng(2).uniform(-0.3, 0.3, RATE)
SAMPLES = np.random.default_rng(1).integers(-9000, 9000, 1000).astype("<i2").tobytes()
DS64 = chunk(b"ds64", struct.pack("<QQQI", 0, 2000, 1000, 0))
TAG = chunk(b"LIST", b"INFOISFT\x05\0\0\0Lavf\0")
LENGTHS = {
    "plain": (riff(chunk(b"data", SAMPLES)), "", ""),
    "a tag before and one behind": (riff(TAG, chunk(b"data", SAMPLES), TAG), "", ""),
    "one byte of padding is missing": (riff(chunk(b"data", SAMPLES[:-1], 1999))[:-1], "", ""),
    "zeros up to a sector": (riff(chunk(b"data", SAMPLES)) + b"\0" * 60, "", ""),
    "big end first": (riff(chunk(b"data", SAMPLES, order=">"), name=b"RIFX", order=">"), "", ""),
    "a sample too few": (riff(chunk(b"data", SAMPLES))[:-4], "is cut short: its header announces 2000 bytes", ""),
    "numbers behind that are no zeros": (
        riff(chunk(b"data", SAMPLES, 1900)),
        "has 100 bytes behind the 1900 bytes of samples",
        "",
    ),
    "more than announced": (riff(chunk(b"data", SAMPLES, 800)), "has 1200 bytes behind the 800 bytes of samples", ""),
    "a tag that is cut": (riff(chunk(b"data", SAMPLES), chunk(b"LIST", b"INFO" * 40, 4000)), "has 168 bytes behind", ""),
    "ffmpeg into a pipe": (riff(chunk(b"data", SAMPLES, 0xFFFFFFFF)), "", "its header does not say how long it is"),
    "SoX into a pipe": (riff(chunk(b"data", SAMPLES, 0x7FFFFFDB)), "", "its header does not say how long it is"),
    "SoX 14.4 into a pipe": (riff(chunk(b"data", SAMPLES, 0x7FFFF000)), "", "its header does not say how long it is"),
    "arecord into a pipe": (riff(chunk(b"data", SAMPLES, 0x80000000)), "", "its header does not say how long it is"),
    "a length that says nothing but what is there": (riff(chunk(b"data", SAMPLES, 0x87D1C000)), "is cut short", ""),
    "unknown, and true to the last chunk": (riff(TAG, chunk(b"data", SAMPLES), TAG, TAG), "", ""),
    "RF64": (riff(DS64, chunk(b"data", SAMPLES, 0xFFFFFFFF), name=b"RF64"), "", ""),
    "RF64 cut": (
        riff(DS64, chunk(b"data", SAMPLES[:-8], 0xFFFFFFFF), name=b"RF64"),
        "is cut short: its header announces 2000",
        "",
    ),
    "no samples at all": (riff(), "", ""),
}


@pytest.mark.parametrize("case", LENGTHS)
def test_the_length_in_a_wav_header_is_held_against_the_bytes(tmp_path, case):
    content, problem, remark = LENGTHS[case]
    (tmp_path / "a.wav").write_bytes(content)
    found = check_length(tmp_path / "a.wav")
    assert found.problem.startswith(problem) if problem else not found.problem
    assert found.remark.startswith(remark) if remark else not found.remark


def test_a_sphere_file_that_was_cut_is_found(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, NOISE_W, RATE, format="NIST", subtype="PCM_16")
    assert inspect_audio(path)[1:] == ("", "")
    path.write_bytes(path.read_bytes()[:-2])
    assert check_audio(path) == "is cut short: its header announces 32000 bytes of samples, 31998 are there"


def sparse(path: Path, announced: int, there: int, name: bytes = b"RIFF", *before: bytes) -> Path:
    """A WAV file with so many bytes of zeros, of which the disk holds none."""
    head = riff(*before, chunk(b"data", b"", announced), name=name)
    path.write_bytes(head)
    with open(path, "r+b") as file:
        file.truncate(len(head) + there)
    return path


@pytest.mark.parametrize("num_bytes", [0x7FFFEFF0, 0x7FFFF000, 0x7FFFFFFE, 0x80000000, 2_278_656_000, 0xFFFFFF80, 0xFFFFFFFE])
def test_a_wav_of_up_to_4_gb_is_good_if_it_is_as_long_as_it_says(tmp_path, num_bytes):
    found = check_length(sparse(tmp_path / "a.wav", num_bytes, num_bytes))
    assert found == ("", "", num_bytes // 2)
    path = sparse(tmp_path / "b.wav", num_bytes, num_bytes)
    assert inspect_audio(path, decode=False).info.num_samples == num_bytes // 2
    assert inspect_audio(path, decode=False)[1:] == ("", "")


def test_a_wav_of_over_2_gb_that_was_cut_to_1_gb_is_found(tmp_path):
    for decode in (True, False):
        found = inspect_audio(sparse(tmp_path / "a.wav", 2_278_656_000, 999_999_956), decode=decode)
        assert found.problem == "is cut short: its header announces 2278656000 bytes of samples, 999999956 are there"


def test_a_wav_that_was_piped_beyond_2_gb_is_not_read_in_part(tmp_path):
    found = inspect_audio(sparse(tmp_path / "a.wav", 0x7FFFF000, 3_000_000_000), decode=False)
    assert (
        found.problem
        == f"is read up to sample {0x7FFFF000 // 2} of 1500000000, as its header does not say its length; write it anew"
    )


def test_rf64_beyond_4_gb_counts_by_its_long_length(tmp_path):
    num_bytes = 5_000_000_000
    ds64 = chunk(b"ds64", struct.pack("<QQQI", num_bytes + 80, num_bytes, num_bytes // 2, 0))
    path = sparse(tmp_path / "a.wav", 0xFFFFFFFF, num_bytes, b"RF64", ds64)
    assert check_length(path) == ("", "", num_bytes // 2)
    assert "is cut short" in check_length(sparse(tmp_path / "b.wav", 0xFFFFFFFF, num_bytes - 4, b"RF64", ds64)).problem


@pytest.mark.parametrize("behind", [100, 999, 1001])
def test_zeros_up_to_the_end_of_a_block_are_no_samples_but_numbers_may_be(tmp_path, behind):
    path, samples = tmp_path / "a.wav", 50 * SAMPLES
    path.write_bytes(riff(chunk(b"data", samples)) + bytes(behind))
    is_much = behind > len(samples) // 100
    assert check_audio(path, decode=False) == (
        f"has {behind} bytes behind the {len(samples)} bytes of samples that its header announces" if is_much else ""
    )
    path.write_bytes(riff(chunk(b"data", samples)) + bytes(behind - 1) + b"\1")
    assert check_audio(path, decode=False).startswith(f"has {behind} bytes behind the")


RELATIVES = [
    ("a.w64", "W64", "PCM_16"), ("a.aiff", "AIFF", "PCM_24"), ("a.aifc", "AIFF", "FLOAT"), ("a.au", "AU", "PCM_16"),
    ("a.caf", "CAF", "PCM_16"), ("a.sph", "NIST", "PCM_16"), ("a.wav", "WAVEX", "PCM_32"), ("a.rf64", "RF64", "PCM_16"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "form", "subtype"), RELATIVES)
def test_relatives_of_wav_are_whole_or_a_problem(tmp_path, name, form, subtype):
    path = tmp_path / name
    soundfile.write(path, NOISE_W, RATE, format=form, subtype=subtype)
    content = path.read_bytes()
    for decode in (True, False):
        found = inspect_audio(path, decode=decode)
        assert (found.info.num_samples, found.problem, found.remark) == (len(NOISE_W), "", "")
    assert check_length(path).num_samples == len(NOISE_W)
    path.write_bytes(content[: len(content) * 2 // 3])  # CAF: libsndfile itself refuses it
    assert check_length(path).problem.startswith("is cut short: its header announces")
    assert check_audio(path, decode=False)
    path.write_bytes(content + b"ab" * 5000)
    assert check_audio(path, decode=False).startswith("has 10000 bytes behind the")
    path.write_bytes(content + bytes(40))  # zeros up to the end of a block
    assert check_audio(path, decode=False) == ""


def unknown(path: Path, form: str) -> None:
    """Write zero or all bits where the length of the samples stands, as ffmpeg does into a pipe."""
    soundfile.write(path, NOISE_W, RATE, format=form, subtype="PCM_16")
    content = bytearray(path.read_bytes())
    place = {"AU": 8, "AIFF": content.find(b"SSND") + 4, "W64": content.find(b"data\xf3") + 16}[form]
    content[place : place + (8 if form == "W64" else 4)] = {"AU": b"\xff" * 4, "AIFF": bytes(4), "W64": b"\xff" * 7 + b"\x7f"}[
        form
    ]
    path.write_bytes(content)


@pytest.mark.parametrize("form", ["AU", "AIFF", "W64"])
def test_what_was_written_to_a_pipe_is_read_to_its_end_with_a_remark(tmp_path, form):
    path = tmp_path / f"a.{form.lower()}"
    unknown(path, form)
    found = inspect_audio(path)
    assert (found.info.num_samples, found.problem) == (len(NOISE_W), "")
    assert found.remark.startswith("its header does not say how long it is")
    assert len(read_audio(path)[0]) == len(NOISE_W)


ODD = {  # RIFF that is seldom written, by what libsndfile makes of it
    "two chunks of samples": (riff(chunk(b"data", SAMPLES), chunk(b"data", SAMPLES)), "cannot be read as audio"),
    "samples in a list": (riff(chunk(b"LIST", b"wavl" + 2 * chunk(b"data", SAMPLES))), "cannot be read as audio"),
    "an odd chunk in front without its padding": (
        riff(b"LIST\7\0\0\0INFOabc" + chunk(b"data", SAMPLES)),
        "cannot be read as audio",
    ),
    "samples in front of their format": (
        b"RIFF" + struct.pack("<I", 2036) + b"WAVE" + chunk(b"data", SAMPLES) + riff()[12:],
        "cannot be read as audio",
    ),
    "no length, and samples": (riff(chunk(b"data", SAMPLES, 0)), "has 2000 bytes behind the 0 bytes"),
    "BW64": (riff(DS64, chunk(b"data", SAMPLES, 0xFFFFFFFF), name=b"BW64"), "cannot be read as audio"),
    "what looks like samples within another chunk": (riff(chunk(b"JUNK", chunk(b"data", b"abcd")), chunk(b"data", SAMPLES)), ""),
    "an odd tag behind": (riff(chunk(b"data", SAMPLES), chunk(b"LIST", b"INFOabc")), ""),
}


@pytest.mark.parametrize("case", ODD)
def test_odd_chunks_are_read_whole_or_are_a_problem(tmp_path, case):
    content, problem = ODD[case]
    (tmp_path / "a.wav").write_bytes(content)
    for decode in (True, False):
        found = inspect_audio(tmp_path / "a.wav", decode=decode)
        assert found.problem.startswith(problem) if problem else (found.problem, found.info.num_samples) == ("", 1000)


@pytest.mark.parametrize("coding", ["pcm,embedded-shorten-v2.00", "pcm,embedded-wavpack-v2.00"])
def test_a_packed_sphere_file_says_so(tmp_path, coding):
    fields = f"sample_count -i 1000\nsample_n_bytes -i 2\nchannel_count -i 1\nsample_rate -i {RATE}\nsample_byte_format -s2 01\n"
    head = f"NIST_1A\n   1024\n{fields}sample_coding -s{len(coding)} {coding}\nend_head\n"
    (tmp_path / "a.sph").write_bytes(head.encode().ljust(1024) + SAMPLES)
    assert check_audio(tmp_path / "a.sph") == (
        f"cannot be read as audio (SPHERE samples coded '{coding}'; unpack them: sph2pipe -f wav in.sph out.wav)"
    )


def test_a_container_that_is_not_looked_into_is_said(tmp_path):
    soundfile.write(tmp_path / "a.voc", NOISE_W, RATE, format="VOC", subtype="PCM_16")
    found = inspect_audio(tmp_path / "a.voc")
    assert (found.problem, found.remark) == ("", "holds VOC: whether it is whole is not known")


@pytest.mark.parametrize("decode", [True, False])
def test_chunks_behind_the_samples_of_a_wave64_file_are_not_taken_for_samples(tmp_path, decode):
    path = tmp_path / "a.w64"
    soundfile.write(path, NOISE_W, RATE, format="W64", subtype="PCM_16")
    content = path.read_bytes()
    assert inspect_audio(path, decode=decode)[1:] == ("", "")
    path.write_bytes(content + bytes.fromhex("6c657665f3acd3118cd100c04f8edb8a") + struct.pack("<Q", 424) + b"\1" * 400)
    assert inspect_audio(path, decode=decode).problem.startswith(f"has 424 bytes behind the {2 * RATE} bytes of samples")
    path.write_bytes(content + content)
    assert f"has {len(content)} bytes behind" in inspect_audio(path, decode=decode).problem


def test_bytes_that_fill_up_a_chunk_of_wave64_are_no_fault(tmp_path):
    path = tmp_path / "a.w64"
    soundfile.write(path, NOISE_W[:-7], RATE, format="W64", subtype="PCM_U8")
    path.write_bytes(path.read_bytes() + bytes(-path.stat().st_size % 8))
    assert inspect_audio(path).problem == ""
