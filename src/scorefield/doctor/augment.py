"""Whether images are mirrored at random in training."""

from __future__ import annotations

from scorefield.data.augmentation import Augmentation
from scorefield.doctor.choices import Choice
from scorefield.doctor.diagnosis import Diagnosis

SYMMETRIC = 0.1  # mirror gap, in σ_data, below which mirrored images are plausible
LETTERS = 2  # letters of a class's name, at least, that is not itself written in the images


def mirrors(diagnosis: Diagnosis) -> tuple[Augmentation, Choice]:
    """Whether mirrored images count as data, and why.

    Arguments:
        diagnosis: of images.
    """
    spec, gap = diagnosis.spec, diagnosis.scan.mirror or 0.0
    measured = f"the mean image differs from its mirror image by {gap:.2f} σ_data"
    if spec.shape[0] < 3:
        why = "many gray images are writing or measurements, and a mirrored digit is none"
    elif gap > SYMMETRIC:
        why = f"{measured}, so left and right are not alike here"
    elif spec.classes and not all(_is_a_word(name) for name in spec.class_names or ("0",)):
        why = "classes without names, or with a number or a letter for one, may be what is written"
    else:
        reason = f"{measured}, and colour images are seldom writing; 0 if these are"
        return Augmentation(flip=0.5), Choice("augmentation.flip", reason, "rule of thumb")
    return Augmentation(), Choice("augmentation.flip", f"none: {why}", "rule of thumb")


def _is_a_word(name: str) -> bool:
    return len(name) >= LETTERS and not name.isdecimal()
