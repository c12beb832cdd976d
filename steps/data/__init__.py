"""What is on disk: manifests of utterances, trial lists and scores, audio files, archives of arrays."""
