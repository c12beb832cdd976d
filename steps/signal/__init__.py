"""Sample and frame arithmetic: arrays in, arrays out, no files.

Modules on samples (resample, speed, noise, reverb, codec, policy) take and return numpy float32 `[W]` in +-1;
modules on frames (framing, features, plp, spectral, normalise, vad) take and return torch tensors; frontend joins the two.
settings and feature_settings import nothing but the standard library. Shape suffixes: B batch, T frames, F feature bins,
W samples, N items.
"""
