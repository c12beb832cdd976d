#!/usr/bin/env bash
# soundfile 0.14.0 (libsndfile 1.2.2): a Wave64 file with a chunk behind its chunk of samples, which the format allows (here a list
# of 200 bytes), is read beyond the size that the chunk of samples states: the chunk's header and content come out as 112 more
# samples, as loud as noise can be, and the length is given so. Seen: 16,112 samples of 16,000, without an error.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet soundfile==0.14.0 numpy==2.4.6
cat >"$folder/behind.py" <<'PYTHON'
import io
import struct

import numpy as np
import soundfile

file = io.BytesIO()
soundfile.write(file, 0.3 * np.sin(np.arange(16000) / 10), 16000, format="W64", subtype="PCM_16")
plain = file.getvalue()
stated = struct.unpack("<q", plain[96:104])[0] - 24  # of the chunk of samples, which begins at byte 80
assert plain[80:84] == b"data" and stated == 32000
content = bytes(range(1, 201))
chunk = b"list" + bytes.fromhex("2f91cf11a5d628db04c10000") + struct.pack("<q", 24 + len(content)) + content
longer = bytearray(plain + bytes(-len(plain) % 8) + chunk)
longer[16:24] = struct.pack("<q", len(longer))  # the size of the whole file
samples, _ = soundfile.read(io.BytesIO(bytes(longer)))
print(f"{stated // 2} samples stated, {len(samples)} read; the largest behind them is {abs(samples[16000:]).max():.2f}")
assert len(samples) == 16112
PYTHON
"$folder/venv/bin/python" "$folder/behind.py"
