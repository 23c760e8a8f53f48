"""A denoiser around a denoiser: guidance and thresholding."""
