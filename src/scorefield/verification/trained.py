"""What a small network learns, in the steps of a minute, of a density that is known."""

from __future__ import annotations

import math
import tempfile
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from scorefield.core.oracles import MixtureDenoiser
from scorefield.core.schedules import VP
from scorefield.models import likelihoods, load
from scorefield.verification.claims import Claim, Place
from scorefield.verification.processes import finish, train_command

POINTS, TRIED = 200_000, 2_000  # trained on, and judged by
NOISE = 0.03  # standard deviation about the roll, whose radius is 1.3
# A minute on two cores; by the clock the claim would hang on what else they do.
BUDGET = "2000steps"
RECIPE = (
    *("moons", "training.batch=1024"),
    # Most at the noise that the roll is told from its surroundings by, and not at that where it is a point.
    "objective.times={kind: log-normal, mean: -2, std: 1.6}",
)


def roll() -> MixtureDenoiser:
    """400 round Gaussians along a Swiss roll, of even density along it."""
    turn = torch.linspace(1.5 * math.pi, 4.5 * math.pi, 400, dtype=torch.float64)
    means = 1.3 * (turn / turn[-1])[:, None] * torch.stack([turn.cos(), turn.sin()], 1)
    round_ones = (NOISE**2 * torch.eye(2, dtype=torch.float64)).expand(len(turn), 2, 2)
    return MixtureDenoiser(VP(), turn, means, round_ones)


def divergence(budget: str, place: Place) -> float:
    """KL(p ‖ q) = E_p[log p - log q] in nats, q being what a network has learnt from draws of p."""
    exact = roll()
    drawn, tried = (
        exact.draw(n, torch.Generator().manual_seed(seed)) for seed, n in enumerate((POINTS, TRIED))
    )
    with tempfile.TemporaryDirectory() as folder:
        table, run = Path(folder, "roll.csv"), Path(folder, "run")
        rows = (f"{a:.9g},{b:.9g}" for a, b in drawn.tolist())
        table.write_text("\n".join(["x,y", *rows]), encoding="utf-8")
        settings = [f"training.budget={budget}", "data=csv", f"data.path={table}"]
        finish(train_command([*RECIPE, *settings], place.device), run)
        log_prob = _log_prob(run, tried, place.device)
    return float((exact.log_prob(tried) - log_prob).mean())


def _log_prob(run: Path, x: Tensor, device: str) -> Tensor:
    """What the trained model says of points in their own units, in nats."""
    model = load(run, device=device, precision="fp32")
    center, scale = (x.new_tensor(numbers) for numbers in (model.spec.center, model.spec.scale))
    ours = ((x - center) / scale).float()
    found = [part.log_prob.cpu() for part in likelihoods(model, ours, batch=len(x))]
    return torch.cat(found) - scale.log().sum()


CLAIMS = (
    Claim(
        "a perceptron trained on a Swiss roll: KL to the density, nats",
        "a mixture's density in closed form",
        partial(divergence, BUDGET),
        0.02,
        slow=True,
    ),
)
