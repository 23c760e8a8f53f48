"""Denoisers around a denoiser: what changes an estimate of the clean data, for any sampler."""
