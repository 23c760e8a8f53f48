"""The doctor: measures of a data set, what they mean, and a recipe fitted to them."""

from scorefield.doctor.choices import Choice
from scorefield.doctor.documents import RECIPE, facts, measures, write_documents
from scorefield.doctor.examination import Diagnosis, Examination, Stage
from scorefield.doctor.findings import Finding
from scorefield.doctor.pictures import contact_sheet, histograms, write_pictures
from scorefield.doctor.prescription import Prescription, prescribe

__all__ = [
    "RECIPE",
    "Choice",
    "Diagnosis",
    "Examination",
    "Finding",
    "Prescription",
    "Stage",
    "contact_sheet",
    "facts",
    "histograms",
    "measures",
    "prescribe",
    "write_documents",
    "write_pictures",
]
