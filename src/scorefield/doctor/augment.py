"""Whether images may be changed at random while training."""

from __future__ import annotations

from scorefield.doctor.diagnosis import Diagnosis

SYMMETRIC = 0.1  # mirror gap, in σ_data, below which mirrored images are plausible


def mirrors(diagnosis: Diagnosis) -> str:
    """Whether mirrored images are plausible, in words.

    Arguments:
        diagnosis: of images.
    """
    gap = diagnosis.scan.mirror or 0.0
    if diagnosis.spec.shape[0] < 3:
        return (
            "no mirrored images: many gray images are writing or measurements, and a mirrored digit is "
            "none"
        )
    measured = f"the mean image differs from its mirror image by {gap:.2f} σ_data"
    if gap > SYMMETRIC:
        return f"no mirrored images: {measured}, so left and right are not alike here"
    return (
        f"mirrored images are plausible ({measured}) if nothing in them is written; none are used"
    )
