"""Claims about steps.data.archive; kaldiio and lhotse are the outside readers."""

import os
import pickle
from concurrent.futures import ProcessPoolExecutor
from types import SimpleNamespace

import kaldiio
import numpy as np
import pytest
from lhotse import FeatureSet

from steps.core.errors import RecipeError
from steps.data import archive as archives
from steps.data import ark_rows
from steps.data.archive import Archive
from steps.data.feature_manifest import FEATURES, write_feature_manifest
from steps.data.lhotse_reader import use_kaldiio_in_lhotse
from steps.data.manifests import Utterance, write_set

RNG = np.random.default_rng(5)
MATRICES = {f"s/{n}": RNG.normal(size=(20 + n, 4)).astype(np.float32) for n in range(5)}
VECTORS = {f"s/{n}": RNG.normal(size=7).astype(np.float32) for n in range(5)}
WAVES = {f"s/{n}": RNG.integers(-32768, 32767, 300 + n, dtype=np.int16) for n in range(5)}


def write(folder, items, wave=False):
    folder.mkdir(exist_ok=True)
    path = folder / "feats.0.ark"
    lines = archives.write_wave_ark(path, items.items(), 8000) if wave else archives.write_ark(path, items.items())
    archives.write_scp(folder, lines)
    return Archive(folder)


@pytest.mark.parametrize("items", [MATRICES, VECTORS, WAVES], ids=["matrices", "vectors", "waves"])
def test_what_was_written_is_read_by_us_and_by_kaldiio(tmp_path, monkeypatch, items):
    archive = write(tmp_path / "x", items, wave=items is WAVES)
    assert archive.ids == list(items)
    monkeypatch.chdir(tmp_path / "x")
    by_kaldiio = dict(kaldiio.load_ark("feats.0.ark"))
    by_scp = kaldiio.load_scp("feats.scp")
    for name, array in items.items():
        np.testing.assert_array_equal(archive.load(name), array)
        assert archive.load(name).dtype == array.dtype
        assert archive.shape(name) == array.shape
        for found in (by_kaldiio[name], by_scp[name], kaldiio.load_mat(":".join(map(str, archive.place(name))))):
            samples = found[1] if items is WAVES else found
            np.testing.assert_array_equal(samples, array)
            assert items is not WAVES or found[0] == 8000 == archive.sampling_rate(name)


@pytest.mark.parametrize("items", [MATRICES, VECTORS, WAVES], ids=["matrices", "vectors", "waves"])
def test_arks_have_the_bytes_of_kaldiio(tmp_path, items):
    write(tmp_path, items, wave=items is WAVES)
    theirs = {name: (8000, array) if items is WAVES else array for name, array in items.items()}
    kaldiio.save_ark(str(tmp_path / "theirs.ark"), theirs)
    assert (tmp_path / "feats.0.ark").read_bytes() == (tmp_path / "theirs.ark").read_bytes()


@pytest.mark.parametrize("items", [MATRICES, WAVES], ids=["matrices", "waves"])
def test_load_rows_returns_the_rows_and_refuses_others(tmp_path, items):
    archive = write(tmp_path, items, wave=items is WAVES)
    name = "s/3"
    num = archive.num_rows(name)
    for start, count in ((0, num), (5, 9), (num - 1, 1), (num, 0)):
        np.testing.assert_array_equal(archive.load_rows(name, start, count), items[name][start : start + count])
    for start, count in ((0, num + 1), (-1, 2), (num, 1)):
        with pytest.raises(ValueError, match="s/3"):
            archive.load_rows(name, start, count)


def test_scps_of_others_need_not_be_sorted(tmp_path):
    archive = write(tmp_path, MATRICES)
    lines = (tmp_path / "feats.scp").read_text().splitlines()
    first = lines[0].split(" ")[1]
    (tmp_path / "feats.scp").write_text("\n".join([f"s/3 {first}", *lines[::-1]]))
    again = Archive(tmp_path)
    assert again.ids == archive.ids == sorted(MATRICES)
    for name, array in MATRICES.items():  # of two lines of s/3 the last one counts
        np.testing.assert_array_equal(again[name], array)
    assert list(again.shapes()) == [array.shape for array in MATRICES.values()]
    assert list(again.places()) == [archive.place(name) for name in archive]


def test_an_entry_of_an_archive_takes_forty_bytes_beside_its_id(tmp_path):
    archives.write_ark(tmp_path / "x.ark", [("a", np.ones((3, 2)))])
    names = [f"id{number // 180:05d}/abcdefghijk/{number:05d}" for number in range(20_000)]
    archives.write_scp(tmp_path, (f"{name} x.ark:2" for name in names))
    archive = Archive(tmp_path)
    assert archive.ids == names
    assert (
        len(pickle.dumps(archive)) / len(names) < len(names[0]) + 40
    )  # what a worker that is spawned gets; forked ones share it
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(archive))[names[777]], np.ones((3, 2)))


def test_a_renamed_folder_is_read_as_before(tmp_path):
    write(tmp_path / "a", MATRICES)
    os.rename(tmp_path / "a", tmp_path / "b")
    np.testing.assert_array_equal(Archive(tmp_path / "b").load("s/2"), MATRICES["s/2"])


def test_forked_workers_read_the_same_archive(tmp_path):
    archive = write(tmp_path, MATRICES)
    archive.load("s/0")
    with ProcessPoolExecutor(2) as pool:
        for name, found in zip(MATRICES, pool.map(archive.load, MATRICES), strict=True):
            np.testing.assert_array_equal(found, MATRICES[name])


def test_merged_scps_are_sorted_and_refuse_double_ids(tmp_path):
    for part, names in (("p1", ["b", "d"]), ("p0", ["c", "a"])):
        (tmp_path / part).mkdir()
        lines = archives.write_ark(tmp_path / part / f"{part}.ark", [(name, MATRICES["s/0"]) for name in names])
        archives.write_scp(tmp_path / part, lines)
    (tmp_path / "all").mkdir()
    for part in ("p0", "p1"):
        os.link(tmp_path / part / f"{part}.ark", tmp_path / "all" / f"{part}.ark")
    archives.merge_scp([tmp_path / "p1", tmp_path / "p0"], tmp_path / "all")
    assert Archive(tmp_path / "all").ids == ["a", "b", "c", "d"]
    np.testing.assert_array_equal(Archive(tmp_path / "all")["d"], MATRICES["s/0"])
    with pytest.raises(RecipeError, match="each id once.*'a "):
        archives.merge_scp([tmp_path / "p0", tmp_path / "p0"], tmp_path / "all")


def test_errors_name_the_file_and_the_id(tmp_path):
    archive = write(tmp_path, MATRICES)
    with pytest.raises(RecipeError, match=r"feats.scp: no entry for 'x'"):
        archive.load("x")
    with pytest.raises(RecipeError, match="expected one .scp"):
        Archive(tmp_path / "none")
    content = (tmp_path / "feats.0.ark").read_bytes()
    (tmp_path / "feats.0.ark").write_bytes(content[:-5])
    with pytest.raises(RecipeError, match=r"feats.0.ark: ends within 's/4'"):
        archive.load("s/4")
    (tmp_path / "feats.0.ark").write_bytes(b"x" * len(content))
    with pytest.raises(RecipeError, match="damaged"):
        archive.load("s/1")
    (tmp_path / "feats.0.ark").unlink()
    with pytest.raises(RecipeError, match=r"feats.0.ark: not found"):
        archive.load("s/1")


@pytest.mark.parametrize("array", [np.zeros((0, 3)), np.zeros((2, 2, 2)), np.array([[np.nan]]), np.zeros((2, 2), int)])
def test_arrays_that_kaldi_does_not_hold_are_refused_and_leave_nothing(tmp_path, array):
    with pytest.raises(ValueError, match="'a'"):
        archives.write_ark(tmp_path / "x.ark", [("b", np.ones(3)), ("a", array)])
    assert list(tmp_path.iterdir()) == []


def test_embeddings_come_back_sorted(tmp_path):
    ids, matrix_ND = ["b", "a", "c"], RNG.normal(size=(3, 6)).astype(np.float32)
    archives.write_embeddings(tmp_path, ids, matrix_ND)
    found_ids, found_ND = archives.read_embeddings(tmp_path)
    assert found_ids == ["a", "b", "c"]
    np.testing.assert_array_equal(found_ND, matrix_ND[[1, 0, 2]])
    lines = archives.write_ark(tmp_path / "y.ark", [("a", np.ones(6)), ("b", np.ones(5))])
    archives.write_scp(tmp_path, lines, name="embeddings.scp")
    with pytest.raises(RecipeError, match="'b' is not a float32 vector of 6"):
        archives.read_embeddings(tmp_path)


def test_the_embedding_of_windows_is_their_mean(tmp_path):
    items = {"a": RNG.normal(size=(3, 6)), "b": RNG.normal(size=6), "c": RNG.normal(size=(1, 6))}
    archives.write_scp(tmp_path, archives.write_ark(tmp_path / "x.ark", items.items()), name="embeddings.scp")
    ids, found_ND = archives.read_embeddings(tmp_path)
    assert ids == ["a", "b", "c"]
    np.testing.assert_allclose(found_ND, [sum(items["a"]) / 3, items["b"], items["c"][0]], rtol=1e-6)  # float32 on disk
    content = (tmp_path / "x.ark").read_bytes()
    (tmp_path / "x.ark").write_bytes(content[:-4])
    with pytest.raises(RecipeError, match="ends within 'c'"):
        archives.read_embeddings(tmp_path)


@pytest.fixture
def feature_set(tmp_path):
    write(tmp_path / "feats", MATRICES)
    utterances = [
        Utterance(id=name, speaker="s", gender="", session="", corpus="", path="a.wav", sampling_rate=16000,
                  num_samples=160 * len(array)) for name, array in MATRICES.items()
    ]  # fmt: skip
    write_set(tmp_path / "manifests" / "test", utterances)
    settings = SimpleNamespace(type="fbank", sampling_rate=16000, frame_shift=0.01)
    write_feature_manifest(tmp_path / "feats", tmp_path / "manifests" / "test", settings)
    return FeatureSet.from_file(tmp_path / "feats" / FEATURES).with_path_prefix(tmp_path / "feats")


def test_lhotse_loads_the_features_with_kaldiio(feature_set, monkeypatch):
    import lhotse.features.io

    monkeypatch.setattr(lhotse.features.io, "READER_BACKENDS", dict(lhotse.features.io.READER_BACKENDS))
    use_kaldiio_in_lhotse()
    assert len(feature_set) == len(MATRICES)
    for features in feature_set:
        expected_TF = MATRICES[features.recording_id]
        np.testing.assert_array_equal(features.load(), expected_TF)
        np.testing.assert_array_equal(features.load(start=0.05, duration=0.1), expected_TF[5:15])
        assert (features.num_frames, features.num_features) == expected_TF.shape


def test_lhotse_loads_the_features_by_itself(feature_set):
    pytest.importorskip("kaldi_native_io", reason="lhotse's own reader of Kaldi arks needs kaldi_native_io")
    for features in feature_set:
        np.testing.assert_array_equal(features.load(), MATRICES[features.recording_id])


def test_arrays_come_back_and_bytes_do_not_depend_on_order(tmp_path):
    arrays = {
        "b": np.arange(6.0).reshape(2, 3).T, "a": np.float32(1.5), "c": np.array([True, False]), "d": np.zeros((0, 2), np.int64),
    }  # fmt: skip
    archives.save_arrays(tmp_path / "x", arrays)
    archives.save_arrays(tmp_path / "y", dict(reversed(arrays.items())))
    assert (tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes()
    found = archives.load_arrays(tmp_path / "x")
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == np.asarray(array).dtype


def test_objects_are_not_saved_and_damaged_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match="'a' has dtype"):
        archives.save_arrays(tmp_path / "x", {"a": np.array(["text"])})
    (tmp_path / "x").write_bytes(b"rubbish")
    with pytest.raises(RecipeError, match="damaged"):
        archives.load_arrays(tmp_path / "x")
    with pytest.raises(RecipeError, match="not found"):
        archives.load_arrays(tmp_path / "none")


@pytest.mark.parametrize("group_bytes", [1, 100, 1 << 20])
def test_windows_come_back_entry_by_entry_from_several_arks(tmp_path, monkeypatch, group_bytes):
    monkeypatch.setattr(ark_rows, "GROUP_BYTES", group_bytes)
    rng = np.random.default_rng(1)
    items = {f"u{n}": rng.normal(size=[6, (n % 4 + 1, 6)][n % 3 > 0]).astype(np.float32) for n in range(20)}
    names = list(rng.permutation(list(items)))
    lines = [
        line
        for part in range(2)
        for line in archives.write_ark(tmp_path / f"{part}.ark", [(name, items[name]) for name in names[part::2]])
    ]
    archives.write_scp(tmp_path, lines, name="embeddings.scp")
    ids, rows_RD, start_N1 = archives.read_windows(tmp_path)
    assert ids == sorted(items)
    for name, start, end in zip(ids, start_N1[:-1], start_N1[1:], strict=True):
        np.testing.assert_array_equal(rows_RD[start:end], np.atleast_2d(items[name]))
    ids, matrix_ND = archives.read_embeddings(tmp_path)
    expected = [np.atleast_2d(items[name]).mean(axis=0, dtype=np.float64).astype(np.float32) for name in ids]
    np.testing.assert_array_equal(matrix_ND, expected)


@pytest.mark.parametrize(("value", "place"), [(np.nan, 1), (np.inf, 18), (-np.inf, 7)])
def test_embeddings_that_are_no_numbers_are_named(tmp_path, value, place):
    items = {"a": np.ones((2, 6)), "b": np.ones((3, 6)), "c": np.ones(6)}
    archives.write_scp(tmp_path, archives.write_ark(tmp_path / "x.ark", items.items()), name="embeddings.scp")
    content = bytearray((tmp_path / "x.ark").read_bytes())
    begin = content.index(b"c \0BFV") - 4 * place  # the last of b's 18 numbers, the first, one between
    content[begin : begin + 4] = np.float32(value).tobytes()
    (tmp_path / "x.ark").write_bytes(content)
    for read in (archives.read_embeddings, archives.read_windows):
        with pytest.raises(
            RecipeError, match=r"x.ark: the embedding of 'b' has numbers that are NaN or infinite.*stages 4 and 5"
        ):
            read(tmp_path)


def test_embeddings_without_an_ark_or_of_waveforms_are_refused(tmp_path):
    archives.write_scp(tmp_path, ["a gone.ark:2"], name="embeddings.scp")
    with pytest.raises(RecipeError, match="gone.ark: not found"):
        archives.read_embeddings(tmp_path)
    lines = archives.write_ark(tmp_path / "x.ark", [("a", np.ones(6))])
    lines += archives.write_wave_ark(tmp_path / "y.ark", [("b", np.zeros(6, dtype=np.int16))], 8000)
    archives.write_scp(tmp_path, lines, name="embeddings.scp")
    with pytest.raises(RecipeError, match="y.ark: 'b' is not a float32 vector of 6 numbers"):
        archives.read_windows(tmp_path)
