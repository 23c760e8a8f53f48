"""Classifier guidance is Bayes' rule where the classifier is exact."""

import pytest
import torch

from scorefield.core.oracles import GaussianDenoiser, MixtureDenoiser
from scorefield.core.schedules import Flow
from scorefield.errors import InputError
from scorefield.guidance.classifier import ClassifierGuidance


def parts(mixture, schedule):
    """A mixture, its components as denoisers, and the exact log p(component 0 | x_t)."""
    whole = mixture(schedule)
    covariances = whole.basis @ torch.diag_embed(whole.variances) @ whole.basis.mT
    each = [GaussianDenoiser(schedule, m, c) for m, c in zip(whole.means, covariances, strict=True)]

    def log_prob(x, t, **cond):
        return whole.log_weights[0] + each[0].log_prob(x, t) - whole.log_prob(x, t)

    return whole, each, log_prob


def test_the_exact_classifier_gives_the_class(schedule, mixture, normal):
    whole, each, log_prob = parts(mixture, schedule)
    for time in (0.2, 0.5, 0.8):
        t = torch.tensor(time, dtype=torch.float64)
        alpha, sigma = schedule(t)
        x = alpha * normal(7, 2) + sigma * normal(7, 2)
        with torch.no_grad():
            led = ClassifierGuidance(whole, log_prob).score(x, t)
        assert torch.allclose(led, each[0].score(x, t), rtol=1e-8, atol=1e-10)


def test_scale_multiplies_the_gradient(mixture, normal):
    whole, _, log_prob = parts(mixture, Flow())
    x, t = normal(4, 2), torch.tensor(0.4, dtype=torch.float64)
    plain, once, thrice = (ClassifierGuidance(whole, log_prob, w)(x, t) for w in (0.0, 1.0, 3.0))
    assert torch.equal(plain, whole(x, t))
    assert torch.allclose(thrice - plain, 3 * (once - plain), rtol=1e-10, atol=1e-12)


def test_pure_noise_is_not_led(mixture, normal):
    whole, _, log_prob = parts(mixture, Flow())
    x, t = normal(4, 2), torch.tensor(1.0, dtype=torch.float64)
    assert torch.equal(ClassifierGuidance(whole, log_prob)(x, t), whole(x, t))


def test_conditions_reach_both(normal, labelled):
    one = torch.ones(1, dtype=torch.float64)
    denoiser = MixtureDenoiser(Flow(), one, torch.zeros(1, 2), torch.eye(2)[None])
    seen = []

    def log_prob(x, t, label):
        seen.append(label)
        return x.sum(1)

    label = torch.arange(3)
    ClassifierGuidance(denoiser, log_prob)(normal(3, 2), torch.tensor(0.5), label=label)
    assert torch.equal(seen[0], label)
    plain, x, t = labelled(Flow()), normal(3, 1), torch.tensor(0.5)
    label = torch.tensor([0, 1, -1])
    led = ClassifierGuidance(plain, lambda x, t, label: 0 * x.sum(1))
    assert torch.equal(led(x, t, label=label), plain(x, t, label=label))


def test_a_scale_must_be_finite(mixture):
    whole, _, log_prob = parts(mixture, Flow())
    with pytest.raises(InputError, match="scale must be a finite number, got nan"):
        ClassifierGuidance(whole, log_prob, float("nan"))
