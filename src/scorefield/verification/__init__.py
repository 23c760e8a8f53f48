"""Problems with exact answers, tried on this installation or on a trained model."""

from scorefield.verification import (
    densities,
    flows,
    guidance,
    identities,
    laws,
    learning,
    likelihoods,
    schedules,
)
from scorefield.verification.claims import Claim, Finding, Place, verify
from scorefield.verification.model import model_claims

CLAIMS = (
    *schedules.CLAIMS,
    *identities.CLAIMS,
    *flows.CLAIMS,
    *laws.CLAIMS,
    *likelihoods.CLAIMS,
    *densities.CLAIMS,
    *guidance.CLAIMS,
    *learning.CLAIMS,
)

__all__ = ["CLAIMS", "Claim", "Finding", "Place", "model_claims", "verify"]
