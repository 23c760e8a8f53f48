"""The tutorial's plain loop, written out by hand: ScoreNet, VE with σ = 25, Adam, Euler–Maruyama.

Contiguous float32, eager, batches of 32, no average of weights, no schedule, no clipping. The innermost
level has 192 channels in place of 256, so that the network has as many parameters as the others.

Reference: Song, Generative Modeling by Estimating Gradients of the Data Distribution (tutorial).
    https://yang-song.net/blog/2021/score/
"""

from __future__ import annotations

import math

import contest
import numpy as np
import torch
from contest import Task
from torch import Tensor, nn

SIGMA, EPS, BATCH, STEPS = 25.0, 1e-5, 32, 500
CHANNELS, EMBEDDING, FREQUENCY = (32, 64, 128, 192), 256, 30.0


def spread(t: Tensor) -> Tensor:
    """The standard deviation of x_t given x₀, √((σ^2t - 1)/(2 log σ))."""
    return ((SIGMA ** (2 * t) - 1) / (2 * math.log(SIGMA))).sqrt()


class ScoreNet(nn.Module):
    """∇ log p_t(x), by four convolutions down and four up."""

    def __init__(self):
        super().__init__()
        self.register_buffer("frequencies", FREQUENCY * torch.randn(EMBEDDING // 2))
        self.embed = nn.Linear(EMBEDDING, EMBEDDING)
        a, b, c, d = CHANNELS
        down, up = nn.Conv2d, nn.ConvTranspose2d
        outs = (a, b, c, d, c, b, a)
        self.convs = nn.ModuleList(
            [
                down(1, a, 3, bias=False),
                down(a, b, 3, stride=2, bias=False),
                down(b, c, 3, stride=2, bias=False),
                down(c, d, 3, stride=2, bias=False),
                up(d, c, 3, stride=2, bias=False),
                up(2 * c, b, 3, stride=2, output_padding=1, bias=False),
                up(2 * b, a, 3, stride=2, output_padding=1, bias=False),
            ]
        )
        self.dense = nn.ModuleList(nn.Linear(EMBEDDING, out) for out in outs)
        self.norms = nn.ModuleList(nn.GroupNorm(32 if i else 4, out) for i, out in enumerate(outs))
        self.last = up(2 * a, 1, 3, bias=False)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        phase = 2 * math.pi * t[:, None] * self.frequencies
        embedding = nn.functional.silu(self.embed(torch.cat([phase.sin(), phase.cos()], 1)))
        hidden, skips = x, []
        for i, (conv, dense, norm) in enumerate(
            zip(self.convs, self.dense, self.norms, strict=True)
        ):
            if i > 4:
                hidden = torch.cat([hidden, skips.pop()], 1)
            hidden = conv(hidden) + dense(embedding)[:, :, None, None]
            hidden = nn.functional.silu(norm(hidden))
            if i < 3:
                skips.append(hidden)
        hidden = self.last(torch.cat([hidden, skips.pop()], 1))
        return hidden / spread(t)[:, None, None, None]


def train(task: Task) -> None:
    torch.manual_seed(0)
    data = torch.from_numpy(np.load(task.folder / "images.npz")["x"]).permute(0, 3, 1, 2)
    network = ScoreNet()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(data), batch_size=BATCH, shuffle=True
    )
    batches = iter(())

    def step(number: int, share: float) -> None:
        nonlocal batches
        if number % len(loader) == 0:
            batches = iter(loader)
        x = next(batches)[0] / 255
        t = torch.rand(len(x)) * (1 - EPS) + EPS
        z, std = torch.randn_like(x), spread(t)[:, None, None, None]
        loss = ((network(x + std * z, t) * std + z) ** 2).sum((1, 2, 3)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    contest.train(
        task,
        step,
        batch=BATCH,
        parameters=sum(p.numel() for p in network.parameters()),
        network="ScoreNet, 28×28, its innermost level of 192 channels in place of 256",
        settings="Adam 1e-4, batch 32, fp32, eager",
    )
    torch.save(network.state_dict(), task.home / "network.pt")


@torch.no_grad()
def euler_maruyama(network: ScoreNet, count: int, steps: int) -> Tensor:
    """Samples in [0, 1] or about it, (count, 1, 28, 28): the mean of the last step."""
    times = torch.linspace(1, 1e-3, steps)
    width = float(times[0] - times[1]) if steps > 1 else 1.0
    x = mean = torch.randn(count, 1, 28, 28) * float(spread(times[0]))
    for t in times:
        g2 = SIGMA ** (2 * float(t))
        mean = x + g2 * width * network(x, t.expand(count))
        x = mean + math.sqrt(g2 * width) * torch.randn_like(x)
    return mean


def sample(task: Task) -> None:
    torch.manual_seed(0)
    network = ScoreNet().eval()
    network.load_state_dict(torch.load(task.home / "network.pt", weights_only=True))
    steps, calls = task.evaluations if task.stage == "compared" else STEPS, 0

    def batch(count: int) -> np.ndarray:
        nonlocal calls
        calls += steps
        return contest.to_bytes(euler_maruyama(network, count, steps).numpy())

    contest.draw(task, batch, lambda: calls)


if __name__ == "__main__":
    asked = contest.task()
    (train if asked.stage == "train" else sample)(asked)
