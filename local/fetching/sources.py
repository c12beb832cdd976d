"""What can be had where: archives of corpora with their checksums, and instructions where users must fetch them themselves.

A checksum is here only where its publisher gives one, or several projects agree on it; sizes likewise. None is made up: an
archive without one is checked by what its server announces and by its own integrity, and the log says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass

OPENSLR = "https://www.openslr.org/resources"
# Of the same files; tried in turn where the first does not answer.
OPENSLR_MIRRORS = ("https://openslr.elda.org/resources", "https://us.openslr.org/resources")


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A file to fetch, or several that are its consecutive parts."""

    name: str  # of the file; the parts of an archive are files of their own, and together this one
    path: str = ""  # below the address of the source; "": users place it themselves
    md5: str = ""  # of the whole file; "": not documented
    num_bytes: int = 0  # 0: not documented
    parts: tuple["Archive", ...] = ()
    into: str = ""  # folder below the target that it is unpacked into
    drop: str = ""  # first folder of its members that is left out where it is there, as not all copies have it
    creates: str = ""  # folder below the target that is there once it is unpacked


@dataclass(frozen=True, kw_only=True)
class Source:
    """A corpus: its archives by subset, or what users have to do."""

    title: str
    home: str  # page of its publisher, who says there what it may be used for
    base: str = ""  # address that the paths are below
    mirrors: tuple[str, ...] = ()
    subsets: Mapping[str, Archive]
    default: tuple[str, ...] = ()  # subsets that are fetched unless others are named; none: all
    manual: str = ""  # what users do where the archives may not be fetched by a program


def _openslr(number: int, name: str, md5: str, num_bytes: int = 0, **places: str) -> Archive:
    return Archive(name=name, path=f"{number}/{name}", md5=md5, num_bytes=num_bytes, **places)


def _libri(subset: str, md5: str, num_bytes: int = 0, number: int = 12) -> Archive:
    return _openslr(number, f"{subset}.tar.gz", md5, num_bytes, creates=f"LibriSpeech/{subset}")


def _parts(name: str, letters: str) -> tuple[Archive, ...]:
    return tuple(Archive(name=f"{name}a{letter}") for letter in letters)


_LIBRISPEECH = Source(
    title="LibriSpeech",
    home="https://www.openslr.org/12",
    base=OPENSLR,
    mirrors=OPENSLR_MIRRORS,
    subsets={
        "train-clean-100": _libri("train-clean-100", "2a93770f6d5c6c964bc36631d331a522"),
        "train-clean-360": _libri("train-clean-360", "c0e676e450a7ff2f54aeade5171606fa"),
        "train-other-500": _libri("train-other-500", "d1a0fd59409feb2c614ce4d30c387708"),
        "dev-clean": _libri("dev-clean", "42e2234ba48799c1f50f24a7926300a1", 337_926_286),
        "dev-other": _libri("dev-other", "c8d0bcc9cca99d4f8b62fcc847357931"),
        "test-clean": _libri("test-clean", "32fa31d27d2e1cad72775fee3f4849a9"),
        "test-other": _libri("test-other", "fb5a50374b501bb3bac4815ee91d3135"),
        "train-clean-5": _libri("train-clean-5", "5df7d4e78065366204ca6845bb08f490", 332_954_390, number=31),
        "dev-clean-2": _libri("dev-clean-2", "6d7ab67ac6a1d2c993d050e16d61080d", 126_046_265, number=31),
    },
    default=("train-clean-100", "train-clean-360", "dev-clean", "test-clean"),
)

_CNCELEB = Source(
    title="CN-Celeb",
    home="https://www.openslr.org/82",
    base=OPENSLR,
    mirrors=OPENSLR_MIRRORS,
    subsets={
        "cnceleb1": _openslr(
            82, "cn-celeb_v2.tar.gz", "7ab1b214028a7439e26608b2d5a0336c", 22_264_439_915, creates="CN-Celeb_flac"
        ),
        "cnceleb2": Archive(
            name="cn-celeb2_v2.tar.gz",
            md5="55c47cf0b6d0bf793e88bf79d5dfc660",
            parts=(
                _openslr(82, "cn-celeb2_v2.tar.gzaa", "4cdf738cff565ce35ad34274848659c3"),
                _openslr(82, "cn-celeb2_v2.tar.gzab", "4ff59a7009b79ef7043498ad3882b81b"),
                _openslr(82, "cn-celeb2_v2.tar.gzac", "3aa8e6e7f7ec4382f9926b1b31498228"),
            ),
            creates="CN-Celeb2_flac",
        ),
    },
)

_VOXCELEB_MANUAL = """\
VoxCeleb may not be fetched without asking: its publishers send the addresses to those who fill in their form.

1. Fill in the form at https://www.robots.ox.ac.uk/~vgg/data/voxceleb/ and wait for the mail.
2. Fetch the audio of VoxCeleb1 (vox1_dev_wav_partaa to ad, vox1_test_wav.zip) and of VoxCeleb2 (vox2_dev_aac_partaa to ah).
   The parts need not be joined.
3. Fetch from the same page the lists veri_test.txt, veri_test2.txt, list_test_all.txt, list_test_all2.txt, list_test_hard.txt and
   list_test_hard2.txt, and vox1_meta.csv and vox2_meta.csv.
4. Put everything into one folder and give this command again with --to that folder: it compares the checksums and unpacks
   into vox1/dev, vox1/test and vox2/dev, where recipes/voxceleb looks for them.
5. Make the AAC files FLAC once (recipes/voxceleb/README.md): python -m steps.transcode --set site.corpus=DIR/vox2/dev/aac --out
   DIR/vox2/dev/flac. What you have of VoxCeleb1's first release (voxceleb1_wav) may stay as it is, below DIR/vox1.
"""

_TIMIT_MANUAL = """\
TIMIT is sold by the Linguistic Data Consortium, as LDC93S1: https://catalog.ldc.upenn.edu/LDC93S1 (members of many universities
have it already). Unpack it as it is: recipes/timit reads its SPHERE files, in any letter case. No checksum is documented; stage 1
compares the numbers of speakers and sentences: 462 and 168 speakers, ten sentences each.
"""

_AUDIOMNIST_MANUAL = """\
AudioMNIST (MIT licence) lies in a git repository, which has no archive with a checksum:

    git clone https://github.com/soerenab/AudioMNIST

Give that folder to recipes/audiomnist with --data; stage 1 compares the numbers: 60 speakers, 30,000 recordings.
"""

SOURCES: Mapping[str, Source] = {
    "librispeech": _LIBRISPEECH,
    "cnceleb": _CNCELEB,
    "musan": Source(
        title="MUSAN",
        home="https://www.openslr.org/17",
        base=OPENSLR,
        mirrors=OPENSLR_MIRRORS,
        subsets={"musan": _openslr(17, "musan.tar.gz", "0c472d4fc0c5141eca47ad1ffeb2a7df", 11_086_114_085, creates="musan")},
    ),
    "rirs_noises": Source(
        title="RIRS_NOISES",
        home="https://www.openslr.org/28",
        base=OPENSLR,
        mirrors=OPENSLR_MIRRORS,
        subsets={
            "rirs_noises": _openslr(
                28, "rirs_noises.zip", "e6f48e257286e05de56413b4779d8ffb", 1_311_166_223, creates="RIRS_NOISES"
            )
        },
    ),
    "speechocean762": Source(
        title="speechocean762",
        home="https://www.openslr.org/101",
        base=OPENSLR,
        mirrors=OPENSLR_MIRRORS,
        subsets={"speechocean762": _openslr(101, "speechocean762.tar.gz", "", creates="speechocean762")},
    ),
    "vctk": Source(
        title="VCTK 0.92",
        home="https://datashare.ed.ac.uk/handle/10283/3443",  # of Edinburgh's university; not on OpenSLR
        base="https://datashare.ed.ac.uk/bitstream/handle/10283/3443",
        subsets={
            "vctk": Archive(
                name="VCTK-Corpus-0.92.zip",
                path="VCTK-Corpus-0.92.zip",
                md5="8a6ba2946b36fcbef0212cad601f4bfa",
                num_bytes=11_747_302_977,
                into="VCTK-Corpus-0.92",
                drop="VCTK-Corpus-0.92",
                creates="VCTK-Corpus-0.92/wav48_silence_trimmed",
            )
        },
    ),
    "voxceleb": Source(
        title="VoxCeleb1 and 2",
        home="https://www.robots.ox.ac.uk/~vgg/data/voxceleb/",
        subsets={
            "vox1_dev": Archive(
                name="vox1_dev_wav.zip",
                md5="ae63e55b951748cc486645f532ba230b",
                parts=_parts("vox1_dev_wav_part", "abcd"),
                into="vox1/dev",
                drop="dev",
                creates="vox1/dev/wav",
            ),
            "vox1_test": Archive(
                name="vox1_test_wav.zip",
                md5="185fdc63c3c739954633d50379a3d102",
                into="vox1/test",
                drop="test",
                creates="vox1/test/wav",
            ),  # fmt: skip
            "vox2_dev": Archive(
                name="vox2_dev_aac.zip",
                md5="bbc063c46078a602ca71605645c2a402",
                parts=_parts("vox2_dev_aac_part", "abcdefgh"),
                into="vox2/dev",
                drop="dev",
                creates="vox2/dev/aac",
            ),
            "vox2_test": Archive(
                name="vox2_test_aac.zip",
                md5="0d2b3ea430a821c33263b5ea37ede312",
                into="vox2/test",
                drop="test",
                creates="vox2/test/aac",
            ),  # fmt: skip
        },
        default=("vox1_dev", "vox1_test", "vox2_dev"),
        manual=_VOXCELEB_MANUAL,
    ),
    "timit": Source(
        title="TIMIT",
        home="https://catalog.ldc.upenn.edu/LDC93S1",
        subsets={},
        manual=_TIMIT_MANUAL,
    ),
    "audiomnist": Source(
        title="AudioMNIST",
        home="https://github.com/soerenab/AudioMNIST",
        subsets={},
        manual=_AUDIOMNIST_MANUAL,
    ),
}
