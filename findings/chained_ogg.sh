#!/usr/bin/env bash
# soundfile 0.14.0 (libsndfile 1.2.2): of an Ogg file of two streams one after the other, which RFC 3533 calls chained and which
# `cat a.ogg b.ogg` makes, the first stream is read, and its length is given as that of the file, without an error or a warning.
# torchcodec and ffmpeg read both. Seen: 16,000 samples of 32,000, for Vorbis as for Opus.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet soundfile==0.14.0 numpy==2.4.6
cat >"$folder/chained.py" <<'PYTHON'
import io

import numpy as np
import soundfile

time = np.arange(16000) / 16000
for codec in ("VORBIS", "OPUS"):
    streams = []
    for frequency in (300, 700):
        file = io.BytesIO()
        soundfile.write(file, 0.3 * np.sin(2 * np.pi * frequency * time), 16000, format="OGG", subtype=codec)
        streams.append(file.getvalue())
    both = b"".join(streams)
    samples, _ = soundfile.read(io.BytesIO(both))
    announced = soundfile.info(io.BytesIO(both)).frames
    print(f"{codec}: {len(samples)} samples read, {announced} announced, 32000 in the two streams")
    assert len(samples) == announced == 16000
PYTHON
"$folder/venv/bin/python" "$folder/chained.py"
