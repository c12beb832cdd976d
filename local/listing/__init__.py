"""What a corpus of audio files consists of: its files, its splits and its trial lists, whatever its layout."""
