"""Claims about the toy corpus: the same bytes every time, and voices, rooms and noises that measure as they were set."""

import hashlib
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy import signal

from local import toy
from local.synthesis.rooms import channel_filter, draw_session, record, room_impulse_response
from local.synthesis.sounds import NOISE_KINDS, coloured_noise, make_music, make_noise
from local.synthesis.speech import TILT_FREQUENCY, draw_voice, glottal_pulse, speak, tilt_pole
from steps.data.manifests import read_roots, read_set, read_utt2spk
from steps.data.trials import read_trials

RATE = 16000
SMALL = toy.Settings(
    num_train_voices=6,
    num_dev_voices=2,
    num_test_voices=4,
    sessions_per_voice=2,
    utterances_per_session=2,
    min_duration=0.8,
    max_duration=1.2,
    num_noises=6,
    num_music=1,
    num_rirs=2,
    clip_duration=0.5,
)


def make_units(settings: toy.Settings, units: list[str], root: Path) -> dict[str, Path]:
    folders = {}
    for unit in units:
        folders[unit] = root / unit
        folders[unit].mkdir(parents=True)
        toy.prepare_unit(settings, {}, unit, folders[unit])
    return folders


def hashes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> tuple[Path, dict[str, dict[str, str]]]:
    """The merged small corpus, and the hashes of each unit before the merge."""
    root = tmp_path_factory.mktemp("toy")
    folders = make_units(SMALL, toy.list_units(SMALL, {}), root / "units")
    unit_hashes = {unit: hashes(folder) for unit, folder in folders.items()}
    (root / "out").mkdir()
    toy.merge(SMALL, {}, folders, root / "out")
    return root / "out", unit_hashes


def measure_f0(wave: np.ndarray) -> float:
    """Median over voiced frames of the first strong autocorrelation peak between 60 and 350 Hz, in Hz."""
    size, hop = int(0.05 * RATE), int(0.01 * RATE)
    sos = signal.butter(2, 900.0, fs=RATE, output="sos")
    frames = np.lib.stride_tricks.sliding_window_view(signal.sosfilt(sos, wave), size)[::hop]
    frames = frames[np.mean(frames**2, axis=1) > 0.1 * np.mean(wave**2)]
    power = np.abs(np.fft.rfft(frames - frames.mean(axis=1, keepdims=True), 2 * size)) ** 2
    correlation = np.fft.irfft(power)[:, :size] / (1.0 - np.arange(size) / size)
    correlation /= correlation[:, :1]
    shortest, longest = RATE // 350, RATE // 60
    found = []
    for row in correlation[:, shortest:longest]:
        peaks = np.flatnonzero((row[1:-1] > row[:-2]) & (row[1:-1] >= row[2:])) + 1
        strong = peaks[row[peaks] > max(0.5, 0.9 * row.max())] if len(peaks) else peaks
        if len(strong):
            found.append(RATE / (strong[0] + shortest))
    return float(np.median(found))


def long_term_spectrum(wave: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    frequency, power = signal.welch(wave, RATE, nperseg=1024)
    return frequency, 10.0 * np.log10(power)


def best_warp(wave: np.ndarray, reference: np.ndarray) -> float:
    """Factor on the frequency axis that makes the reference's long-term spectrum most like the wave's."""
    frequency, level = long_term_spectrum(wave)
    reference_level = long_term_spectrum(reference)[1]
    band = np.geomspace(400.0, 4000.0, 300)
    factors = np.arange(0.70, 1.45, 0.01)
    warped = [np.interp(band / factor, frequency, reference_level) for factor in factors]
    level = np.interp(band, frequency, level)
    return float(factors[np.argmax([np.corrcoef(level, other)[0, 1] for other in warped])])


# The corpus


def test_units_are_sorted_and_fixed_by_the_settings():
    units = toy.list_units(toy.Settings(), {})
    assert units == sorted(units)
    assert len(units) == 19
    assert toy.list_units(replace(SMALL, num_music=0), {}) == [*["noise", "rir"], *[f"voices_{k:02d}" for k in range(10)]]


def test_same_bytes_twice_and_alone(corpus, tmp_path):
    _, unit_hashes = corpus
    np.random.default_rng().standard_normal(7)
    for unit in ("voices_03", "noise", "rir", "music"):
        folder = make_units(SMALL, [unit], tmp_path)[unit]
        assert hashes(folder) == unit_hashes[unit], unit


def test_another_seed_gives_other_bytes(corpus, tmp_path):
    _, unit_hashes = corpus
    folder = make_units(replace(SMALL, seed=2), ["voices_00"], tmp_path)["voices_00"]
    audio = {name: value for name, value in hashes(folder).items() if name.endswith(".flac")}
    assert len(audio) == 4
    assert all(unit_hashes["voices_00"][name] != value for name, value in audio.items())


def test_a_voice_does_not_depend_on_the_others(corpus, tmp_path):
    _, unit_hashes = corpus
    more = replace(SMALL, num_train_voices=12, num_test_voices=10)
    unit = make_units(more, ["voices_01"], tmp_path)["voices_01"]
    alone = {name: value for name, value in hashes(unit).items() if "/m000/" in name}
    assert len(alone) == 4
    assert alone == {name: value for name, value in unit_hashes["voices_01"].items() if "/m000/" in name}


def test_sets_have_the_sizes_and_voices_of_the_settings(corpus):
    out, _ = corpus
    sets = {name: read_set(out, name) for name in ("train", "dev", "test", "noise", "music", "rir")}
    assert {name: len(items) for name, items in sets.items()} == {
        "train": 16, "dev": 8, "test": 16, "noise": 6, "music": 1, "rir": 2,
    }  # fmt: skip
    speakers = {name: {item.speaker for item in sets[name]} for name in ("train", "dev", "test")}
    assert speakers == {
        "train": {"f000", "m000", "f001", "m001"},
        "dev": {"f002", "m002"},
        "test": {"f003", "m003", "f004", "m004"},
    }
    assert all(item.gender == item.speaker[0] for name in speakers for item in sets[name])
    assert read_roots(out) == dict.fromkeys(sets, "")
    spoken = [item for name in speakers for item in sets[name]]
    assert read_utt2spk(out / "utt2spk") == {item.id: item.speaker for item in spoken}


def test_files_are_finite_unclipped_16_bit_flac_of_the_stated_length(corpus):
    out, _ = corpus
    names = ("train", "dev", "test", "noise", "music", "rir")
    items = [(name, item) for name in names for item in read_set(out, name)]
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*.flac")) == sorted(item.path for _, item in items)
    for name, item in items:
        info = soundfile.info(out / item.path)
        assert (info.format, info.subtype, info.samplerate, info.channels) == ("FLAC", "PCM_16", RATE, 1)
        wave, _ = soundfile.read(out / item.path, dtype="int16")
        assert len(wave) == item.num_samples
        assert 0 < np.max(np.abs(wave.astype(int))) <= math.ceil(0.95 * 32767)
        if name in ("train", "dev", "test"):
            assert SMALL.min_duration - 1 / RATE <= item.duration <= SMALL.max_duration


def test_target_trials_cross_sessions_and_hard_trials_stay_within_a_sex(corpus):
    out, _ = corpus
    items = {item.id: item for name in ("dev", "test") for item in read_set(out, name)}
    lists = {name: read_trials(out / "trials" / f"{name}.txt") for name in ("toy_o", "toy_e", "toy_h")}
    lists["dev"] = read_trials(out / "calibration" / "dev.txt")
    for name, trials in lists.items():
        for enrol, test, target in zip(trials.enrol_ids, trials.test_ids, trials.is_target, strict=True):
            assert (items[enrol].speaker == items[test].speaker) == target
            assert not target or items[enrol].session != items[test].session
            assert name != "toy_h" or items[enrol].gender == items[test].gender
    # 4 voices with 2 + 2 utterances: 4 target pairs each; 6 pairs of voices, 2 of them of one sex, 16 pairs of utterances each.
    assert {name: (lists[name].num_target, lists[name].num_nontarget) for name in ("toy_e", "toy_h", "dev")} == {
        "toy_e": (16, 96), "toy_h": (16, 32), "dev": (8, 16),
    }  # fmt: skip
    assert lists["toy_o"].num_target == lists["toy_o"].num_nontarget == 16


def test_unit_rows_are_sorted_and_relative(tmp_path):
    folder = make_units(SMALL, ["voices_00"], tmp_path)["voices_00"]
    rows = [json.loads(line) for line in (folder / "utterances.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == [f"f000/s{s}_0{n}" for s in (1, 2) for n in (0, 1)]
    assert all((folder / row["path"]).is_file() and row["path"].startswith("audio/train/f000/") for row in rows)


@pytest.mark.parametrize(
    "changes", [{"type": "folder"}, {"sessions_per_voice": 1}, {"num_dev_voices": 6}, {"min_duration": 2.0}, {"min_rt60": 0.0}]
)
def test_impossible_settings_are_refused(changes):
    with pytest.raises(ValueError, match="expected"):
        replace(SMALL, **changes)


def test_raw_long_term_spectra_do_not_tell_the_voices_apart():
    """Channels must hide the voices: the nearest mean spectrum of another session is seldom of the same voice."""
    settings = replace(toy.Settings(), sessions_per_voice=2, utterances_per_session=1)
    spectra = {}
    for voice_id in [name for name, set_name in toy.voice_sets(settings).items() if set_name == "test"][:16]:
        for number in (1, 2):
            rng = np.random.default_rng([number, *voice_id.encode()])
            wave = record(speak(toy.voice_of(settings, voice_id), 1.5, rng, RATE), draw_session(rng, RATE), rng, RATE)
            level = long_term_spectrum(wave)[1]
            spectra[voice_id, number] = level - level.mean()
    first, second = (np.array([value for key, value in spectra.items() if key[1] == number]) for number in (1, 2))
    distance = ((first[:, None] - second[None]) ** 2).sum(axis=2)
    assert np.mean(np.argmin(distance, axis=1) == np.arange(16)) < 0.5


# Voices


@pytest.mark.parametrize(("gender", "f0"), [("m", 90.0), ("m", 140.0), ("f", 180.0), ("f", 260.0)])
def test_measured_f0_is_the_f0_that_was_set(gender, f0):
    voice = replace(draw_voice(gender, np.random.default_rng(3)), f0=f0, f0_range=0.0, breath_db=-40.0, jitter=0.003)
    wave = speak(voice, 2.0, np.random.default_rng(4), RATE)
    assert measure_f0(wave) == pytest.approx(f0, rel=0.02)  # a lag of one sample is 1.6 % of 260 Hz


def test_f0_of_the_corpus_is_the_voices(corpus):
    """Through rooms, noise and intonation the F0 of four short utterances is the voice's within 1.5 semitones.

    One voice in ten may fail: a rough channel can leave this simple tracker a harmonic instead of F0.
    """
    out, _ = corpus
    measured = {}
    for item in [item for name in ("train", "dev", "test") for item in read_set(out, name)]:
        measured.setdefault(item.speaker, []).append(measure_f0(soundfile.read(out / item.path)[0]))
    semitones = [12 * math.log2(np.median(f0) / toy.voice_of(SMALL, name).f0) for name, f0 in measured.items()]
    assert len(semitones) == 10
    assert np.sort(np.abs(semitones))[-2] < 1.5


def test_spectra_scale_with_vocal_tract_length():
    """A uniform tube's formants go with 1 / length, so the spectrum of a shorter tract is the longer one's, stretched."""
    voice = replace(draw_voice("m", np.random.default_rng(5)), breath_db=20.0, frication_gain=0.0)
    waves = {length: speak(replace(voice, tract_length=length), 6.0, np.random.default_rng(6), RATE) for length in (14, 16, 18)}
    warps = [best_warp(waves[14], waves[18]), best_warp(waves[16], waves[18])]
    assert warps == pytest.approx([18 / 14, 18 / 16], rel=0.03)


def test_the_sexes_form_clusters():
    """Two means of log F0 and tract length, found without the labels, are the two sexes."""
    voices = [draw_voice("fm"[k % 2], np.random.default_rng([7, k])) for k in range(80)]
    points = np.array([[math.log(voice.f0), voice.tract_length] for voice in voices])
    is_female = np.array([voice.gender == "f" for voice in voices])
    within = np.sqrt((points[is_female].var(axis=0) + points[~is_female].var(axis=0)) / 2)
    assert np.all((points[is_female].mean(axis=0) - points[~is_female].mean(axis=0)) / within * (1, -1) > 2.0)
    points = (points - points.mean(axis=0)) / points.std(axis=0)
    label = points[:, 0] > 0
    for _ in range(20):
        means = np.array([points[~label].mean(axis=0), points[label].mean(axis=0)])
        label = np.argmin(((points[:, None] - means) ** 2).sum(axis=2), axis=1) == 1
    assert np.mean(label == is_female) >= 0.95


def test_glottal_pulse_has_no_mean_unit_power_and_little_aliasing():
    phase = np.cumsum(np.full(RATE, 237.7 / RATE))
    for open_quotient in (0.4, 0.6, 0.8):
        pulse = glottal_pulse(phase, open_quotient)
        assert abs(np.mean(pulse)) < 0.01
        assert np.mean(pulse**2) == pytest.approx(1.0, rel=0.1)  # the band limit takes a little off
        assert off_harmonic_db(pulse, 237.7) < off_harmonic_db(naive_pulse(phase, open_quotient), 237.7) - 6.0


def naive_pulse(phase: np.ndarray, open_quotient: float) -> np.ndarray:
    cycle = (phase % 1.0) / open_quotient
    return np.where(cycle < 1.0, 2.0 * cycle - 3.0 * cycle**2, 0.0)


def off_harmonic_db(wave: np.ndarray, f0: float) -> float:
    """Power between the harmonics below 4 kHz over the power at them, in dB."""
    power = np.abs(np.fft.rfft(wave * np.blackman(len(wave)))) ** 2
    frequency = np.arange(len(power)) * RATE / len(wave)
    near = np.abs(frequency / f0 - np.round(frequency / f0)) * f0 < 8.0
    below = frequency < 4000.0
    return 10.0 * math.log10(power[below & ~near].sum() / power[below & near].sum())


@pytest.mark.parametrize("tilt_db", [0.0, 3.0, 12.0])
def test_tilt_pole_loses_the_stated_level_at_3_khz(tilt_db):
    pole = tilt_pole(tilt_db, RATE)
    _, response = signal.freqz([1.0 - pole], [1.0, -pole], [0.0, TILT_FREQUENCY], fs=RATE)
    assert 20.0 * np.log10(np.abs(response)) == pytest.approx([0.0, -tilt_db], abs=1e-9)


# Sessions, rooms, noises, music


def test_a_session_sets_level_and_snr():
    session = replace(draw_session(np.random.default_rng(8), RATE), impulse_response=np.ones(1, np.float32))
    speech = speak(draw_voice("f", np.random.default_rng(9)), 2.0, np.random.default_rng(10), RATE)
    wave = record(speech, replace(session, level_db=-27.0, snr_db=200.0), np.random.default_rng(11), RATE)
    np.testing.assert_allclose(wave, speech * 10.0 ** (-27.0 / 20.0), rtol=1e-3, atol=1e-6)
    noisy = record(speech, replace(session, level_db=-27.0, snr_db=10.0, hum_db=-200.0), np.random.default_rng(11), RATE)
    assert 10.0 * np.log10(np.mean(noisy**2)) == pytest.approx(-27.0, abs=0.01)
    gain = np.dot(noisy, speech) / np.dot(speech, speech)
    noise = noisy - gain * speech
    assert 10.0 * np.log10(np.mean((gain * speech) ** 2) / np.mean(noise**2)) == pytest.approx(10.0, abs=0.2)


def test_loud_speech_is_scaled_down_and_not_clipped():
    session = replace(draw_session(np.random.default_rng(12), RATE), level_db=0.0)
    speech = speak(draw_voice("m", np.random.default_rng(13)), 1.0, np.random.default_rng(14), RATE)
    wave = record(speech, session, np.random.default_rng(15), RATE)
    assert np.max(np.abs(wave)) == pytest.approx(0.95, abs=1e-5)
    assert np.count_nonzero(np.abs(wave) > 0.9499) == 1


def test_channels_differ_by_several_db():
    responses = []
    for seed in range(20):
        taps = channel_filter(np.random.default_rng(seed), RATE)
        frequency, response = signal.freqz(taps, worN=512, fs=RATE)
        responses.append(20.0 * np.log10(np.abs(response[(frequency > 400) & (frequency < 3500)])))
    spread = np.std(responses, axis=0)
    assert 5.0 < np.mean(spread) < 12.0


@pytest.mark.parametrize("rt60", [0.15, 0.4, 0.8])
def test_rooms_decay_in_the_stated_time(rt60):
    """Schroeder's backward integral, fitted from -5 to -25 dB, times three."""
    measured = []
    for seed in range(9):
        response = room_impulse_response(rt60, -20.0, np.random.default_rng(seed), RATE).astype(np.float64)
        decay_db = 10.0 * np.log10(np.cumsum(response[::-1] ** 2)[::-1] / np.sum(response**2) + 1e-12)
        span = (decay_db < -5.0) & (decay_db > -25.0)
        slope = np.polyfit(np.flatnonzero(span) / RATE, decay_db[span], 1)[0]
        measured.append(-60.0 / slope)
    assert np.median(measured) == pytest.approx(rt60, rel=0.1)


def test_rooms_start_with_the_direct_sound_at_the_stated_ratio():
    response = room_impulse_response(0.5, 6.0, np.random.default_rng(1), RATE)
    assert response[0] == 1.0
    assert 10.0 * math.log10(1.0 / np.sum(response[1:].astype(np.float64) ** 2)) == pytest.approx(6.0, abs=0.01)


@pytest.mark.parametrize("slope", [-1.0, 0.0, 1.0, 2.0])
def test_coloured_noise_falls_with_the_stated_slope(slope):
    frequency, level = long_term_spectrum(coloured_noise(20 * RATE, slope, np.random.default_rng(2)))
    band = (frequency > 200) & (frequency < 6000)
    fitted = np.polyfit(np.log10(frequency[band]), level[band] / 10.0, 1)[0]
    assert fitted == pytest.approx(-slope, abs=0.05)


@pytest.mark.parametrize("kind", NOISE_KINDS)
def test_noises_are_finite_of_unit_power_and_stated_length(kind):
    wave = make_noise(kind, 0.7, np.random.default_rng(3), RATE)
    assert wave.dtype == np.float32
    assert wave.shape == (int(0.7 * RATE),)
    assert np.mean(wave.astype(np.float64) ** 2) == pytest.approx(1.0, rel=1e-4)


def test_music_is_made_of_the_notes_of_one_major_scale():
    """Its power below 500 Hz lies within half a semitone of a tempered scale on A, and on at most seven of the twelve notes."""
    wave = make_music(5.0, np.random.default_rng(4), RATE)
    assert wave.shape == (5 * RATE,)
    power = np.abs(np.fft.rfft(wave * np.hanning(len(wave)))) ** 2
    frequency = np.arange(len(power)) * RATE / len(wave)
    band = (frequency > 100) & (frequency < 500)
    semitone = 12.0 * np.log2(frequency[band] / 110.0)
    off = np.abs(semitone - np.round(semitone)) > 0.4
    assert power[band][off].sum() < 0.05 * power[band].sum()
    notes = np.bincount(np.round(semitone).astype(int) % 12, weights=power[band], minlength=12)
    assert np.sort(notes)[:4].sum() < 0.05 * notes.sum()
