"""Claims about steps.data.compressed: kaldiio packs and unpacks the same, and nothing is further off than Kaldi's form allows."""

import io

import kaldiio
import numpy as np
import pytest

from steps.core.errors import RecipeError
from steps.data import archive as archives
from steps.data.archive import Archive
from steps.data.compressed import FEW_ROWS, STORAGES, pack_compressed

KALDI_METHODS = {"speech_feature": 1, "two_byte": 3}  # 1: kSpeechFeature, but kTwoByteAuto for eight rows or fewer
RNG = np.random.default_rng(2)


def matrix(num_frames, kind="speech"):
    """Columns of different means and widths; some with all numbers alike, or one number far from all others."""
    feats_TF = RNG.normal(8, 3, (num_frames, 20)) * np.linspace(0.2, 2, 20) + np.linspace(-5, 5, 20)
    if kind == "constant":
        feats_TF[:] = -2.5
    if kind == "flat columns":
        feats_TF[:, ::3] = 7
        feats_TF[:, 1] = feats_TF.max() + 1  # the four corners have to be pushed below the highest step
    if kind == "outlier":
        feats_TF[num_frames // 2, 3] = 1e5
    return feats_TF.astype(np.float32)


KINDS = ("speech", "constant", "flat columns", "outlier")


@pytest.mark.parametrize("storage", KALDI_METHODS)
@pytest.mark.parametrize("num_frames", [1, 5, FEW_ROWS, FEW_ROWS + 1, 12, 301])
def test_bytes_are_those_of_kaldiio(storage, num_frames):
    for feats_TF in (matrix(num_frames, kind) for kind in KINDS[:-1]):  # kaldiio rounds corners twice, which an outlier shows
        theirs = io.BytesIO()
        kaldiio.matio.write_array(theirs, feats_TF, compression_method=KALDI_METHODS[storage])
        assert pack_compressed(feats_TF, storage) == theirs.getvalue()


def by_definition(column_T, low, span):
    """Corners and codes of a column of 5 numbers or more, as Kaldi's ComputeColHeader and FloatToChar say it, one by one."""
    single = np.float32

    def step(value):
        return int(min(max((single(value) - low) / span, single(0)), single(1)) * single(65535) + single(0.499))

    ordered, quarter = sorted(column_T.tolist()), len(column_T) // 4
    corners = [min(step(ordered[0]), 65532)]
    for place, limit in ((quarter, 65533), (3 * quarter, 65534), (len(ordered) - 1, 65535)):
        corners.append(min(max(step(ordered[place]), corners[-1] + 1), limit))
    p0, p25, p75, p100 = (low + span * single(1 / 65535) * single(corner) for corner in corners)
    codes = []
    for value in map(single, column_T):
        if value < p25:
            codes.append(min(max(int((value - p0) / (p25 - p0) * single(64) + single(0.5)), 0), 64))
        elif value < p75:
            codes.append(64 + min(max(int((value - p25) / (p75 - p25) * single(128) + single(0.5)), 0), 128))
        else:
            codes.append(192 + min(max(int((value - p75) / (p100 - p75) * single(63) + single(0.5)), 0), 63))
    return corners, codes


def test_bytes_are_those_of_the_definition():
    for feats_TF in (matrix(50, kind) for kind in KINDS):
        low = feats_TF.min()
        span = np.ptp(feats_TF) or 1 + abs(low)
        columns = [by_definition(column_T, low, span) for column_T in feats_TF.T]
        corners, codes = (np.array(part) for part in zip(*columns, strict=True))
        found = pack_compressed(feats_TF, "speech_feature")
        assert found[: 5 + 16] == b"\0BCM " + np.array([low, span], "<f4").tobytes() + np.array([50, 20], "<i4").tobytes()
        assert found[21:] == corners.astype("<u2").tobytes() + codes.astype("u1").tobytes()


def allowed(feats_TF, storage):
    """How far a number may be off: half of the way between two codes where it lies, and of a 65,535th of the matrix's range."""
    span = max(np.ptp(feats_TF), 1e-9) if np.ptp(feats_TF) else 1 + abs(feats_TF[0, 0])
    step = span / 65535
    rounding = np.abs(feats_TF).max() * 2**-22
    if storage == "two_byte" or len(feats_TF) <= FEW_ROWS:
        return 0.502 * step + rounding
    num = len(feats_TF)
    low, quarter, three, high = np.sort(feats_TF.astype(np.float64), axis=0)[[0, num // 4, 3 * (num // 4), num - 1]]
    parts = (feats_TF < quarter, feats_TF >= three)
    width = np.select(parts, ((quarter - low) / 64, (high - three) / 63), (three - quarter) / 128)
    # Corners are rounded to steps, and pushed apart by up to three where columns are narrow; a number may fall into the part
    # beside its own by that.
    return 0.5 * width + 4 * step + rounding


@pytest.mark.parametrize("storage", KALDI_METHODS)
@pytest.mark.parametrize("kind", KINDS)
def test_numbers_are_off_by_no_more_than_half_a_code(tmp_path, storage, kind):
    items = {f"u{num}": matrix(num, kind) for num in (1, 4, FEW_ROWS, FEW_ROWS + 1, 40, 501)}
    archives.write_scp(tmp_path, archives.write_ark(tmp_path / "feats.ark", items.items(), storage))
    archive = Archive(tmp_path)
    for name, theirs_TF in kaldiio.load_ark(str(tmp_path / "feats.ark")):
        found_TF, span = archive.load(name), np.ptp(items[name]) + 1
        assert (found_TF.dtype, found_TF.shape, archive.shape(name)) == (np.float32, items[name].shape, items[name].shape)
        np.testing.assert_allclose(found_TF, theirs_TF, atol=span * 1e-6)
        assert (np.abs(found_TF - items[name]) <= allowed(items[name], storage)).all(), name
        assert found_TF.flags.c_contiguous


def test_a_constant_column_and_its_quartiles_come_back(tmp_path):
    feats_TF = np.repeat(np.arange(4, dtype=np.float32), 25)[:, None] * [1.0, 0.0, 1000.0]
    archives.write_scp(tmp_path, archives.write_ark(tmp_path / "feats.ark", [("a", feats_TF)], "speech_feature"))
    np.testing.assert_allclose(Archive(tmp_path)["a"], feats_TF, atol=4 * 3000 / 65535)


@pytest.mark.parametrize("storage", STORAGES)
def test_rows_are_those_of_the_whole(tmp_path, storage):
    items = {name: matrix(num) for name, num in (("a", 300), ("b", 5), ("c", 40))}
    archives.write_scp(tmp_path, archives.write_ark(tmp_path / "feats.ark", items.items(), storage))
    archive = Archive(tmp_path)
    assert list(archive.shapes()) == [each.shape for each in items.values()]
    for name, feats_TF in items.items():
        whole_TF, num = archive.load(name), len(feats_TF)
        for start, count in ((0, num), (1, 3), (num - 1, 1), (num, 0)):
            np.testing.assert_array_equal(archive.load_rows(name, start, count), whole_TF[start : start + count])
        with pytest.raises(ValueError, match="rows"):
            archive.load_rows(name, 2, num)


def test_sizes_are_a_quarter_and_half(tmp_path):
    size = {}
    for storage in STORAGES:
        archives.write_ark(tmp_path / storage, [("a", matrix(800))], storage)
        size[storage] = (tmp_path / storage).stat().st_size
    header = 30
    assert size["float32"] <= header + 4 * 16000
    assert size["two_byte"] <= header + 2 * 16000
    assert size["speech_feature"] <= header + 16000 + 8 * 20


@pytest.mark.parametrize("storage", STORAGES)
def test_a_cut_file_is_named_and_what_kaldi_does_not_compress_is_refused(tmp_path, storage):
    archives.write_scp(tmp_path, archives.write_ark(tmp_path / "feats.ark", [("a", matrix(30))], storage))
    content = (tmp_path / "feats.ark").read_bytes()
    (tmp_path / "feats.ark").write_bytes(content[:-7])
    with pytest.raises(RecipeError, match="ends within 'a'"):
        Archive(tmp_path).load("a")
    for bad in (np.full((20, 3), np.nan), np.zeros((0, 3)), np.full((20, 3), 1e300)):  # which float32 does not hold
        with pytest.raises(ValueError, match="'a'"):
            archives.write_ark(tmp_path / "x.ark", [("a", bad)], storage)
    with pytest.raises(ValueError, match="storage: expected one of float32"):
        archives.write_ark(tmp_path / "x.ark", [("a", matrix(3))], "int4")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("storage", KALDI_METHODS)
def test_numbers_that_are_very_large_or_very_near_are_kept_or_refused(tmp_path, storage):
    rng = np.random.default_rng(4)
    kept = {
        "large": 1e35 * rng.normal(size=(20, 3)), "near": 1000 + 1e-3 * rng.random((20, 3)),
        "tiny": 1e-42 * rng.random((20, 3)), "constant": np.full((20, 3), -7.7e8),
    }  # fmt: skip
    archives.write_scp(tmp_path, archives.write_ark(tmp_path / "feats.ark", kept.items(), storage))
    for name, feats_TF in kept.items():
        found_TF = Archive(tmp_path).load(name)
        assert np.abs(found_TF - feats_TF).max() <= 0.02 * np.ptp(feats_TF) + 1e-4 * (name == "near") + 1e-38
    for low, high in ((-3e38, 3e38), (0, 3e37)):
        with pytest.raises(ValueError, match=r"x.ark: 'a' has numbers from .* to 3e\+3[78]; expected a range below 1.33e\+36"):
            archives.write_ark(tmp_path / "x.ark", [("a", np.array([[low, high]] * 12))], storage)
