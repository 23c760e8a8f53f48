"""Problems with exact answers, tried on this installation or on a trained model."""

from scorefield.verification import (
    densities,
    flows,
    guidance,
    identities,
    laws,
    learning,
    likelihoods,
    orders,
    posteriors,
    ramps,
    schedules,
    trained,
)
from scorefield.verification.claims import Claim, Finding, Place, verify
from scorefield.verification.model import model_claims
from scorefield.verification.resuming import Ordeal, ordeal, resume_claims

CLAIMS = (
    *schedules.CLAIMS,
    *identities.CLAIMS,
    *flows.CLAIMS,
    *ramps.CLAIMS,
    *laws.CLAIMS,
    *orders.CLAIMS,
    *likelihoods.CLAIMS,
    *densities.CLAIMS,
    *guidance.CLAIMS,
    *posteriors.CLAIMS,
    *learning.CLAIMS,
    *trained.CLAIMS,
)

__all__ = [
    "CLAIMS",
    "Claim",
    "Finding",
    "Ordeal",
    "Place",
    "model_claims",
    "ordeal",
    "resume_claims",
    "verify",
]
