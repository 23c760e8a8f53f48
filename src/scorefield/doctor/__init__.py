"""The doctor: measures of a data set, what they mean, and a recipe fitted to them."""

from scorefield.doctor.choices import Choice, chosen
from scorefield.doctor.diagnosis import Diagnosis
from scorefield.doctor.documents import RECIPE, facts, measures, write_documents
from scorefield.doctor.examination import Examination, Stage
from scorefield.doctor.findings import Finding
from scorefield.doctor.pictures import contact_sheet, histograms, write_pictures
from scorefield.doctor.prescription import Prescription, prescribe
from scorefield.doctor.speed import training_rate

__all__ = [
    "RECIPE",
    "Choice",
    "Diagnosis",
    "Examination",
    "Finding",
    "Prescription",
    "Stage",
    "chosen",
    "contact_sheet",
    "facts",
    "histograms",
    "measures",
    "prescribe",
    "training_rate",
    "write_documents",
    "write_pictures",
]
