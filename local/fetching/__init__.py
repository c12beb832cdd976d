"""Where published corpora come from: addresses, checksums, transfer, safe unpacking, and what users must fetch themselves."""
