"""What samplers.py found, as Markdown tables and one figure."""

from __future__ import annotations

import math
from pathlib import Path

from scores import BUDGETS


def error(row: dict, budget: int) -> float:
    """The error within a budget; infinite for a sampler that failed or needed more."""
    found = row["errors"].get(str(budget), {})
    if "error" not in found or found["evaluations"] > budget:
        return math.inf
    return float(found["error"])


def shown(value: float) -> str:
    if not math.isfinite(value):
        return "–"
    return f"{value:.1e}" if value >= 100 or value < 5e-5 else f"{value:.4f}"


def times_as_large(value: float, least: float) -> str:
    return f"{value / least:.2f}" if math.isfinite(value / least) else "–"


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def of_kind(rows: dict[str, dict], stochastic: bool) -> dict[str, dict]:
    return {name: row for name, row in rows.items() if row["stochastic"] == stochastic}


def best(rows: dict[str, dict], budget: int) -> tuple[str, float]:
    name = min(rows, key=lambda name: error(rows[name], budget))
    return name, error(rows[name], budget)


def errors(rows: dict[str, dict]) -> str:
    """Every sampler's error at every budget."""
    body = [[name, *(shown(error(row, b)) for b in BUDGETS)] for name, row in rows.items()]
    return table(["evaluations", *map(str, BUDGETS)], body)


def champions(peers: dict[str, dict], ours: dict[str, dict]) -> str:
    """The best of each side at every budget."""
    body = []
    for budget in BUDGETS:
        (theirs, least), (mine, value) = best(peers, budget), best(ours, budget)
        ratio = times_as_large(value, least)
        body.append([str(budget), theirs, shown(least), mine, shown(value), ratio])
    return table(["evaluations", "best peer", "error", "best of ours", "error", "ratio"], body)


def ratios(peers: dict[str, dict], ours: dict[str, dict]) -> str:
    """Each of ours over the best peer at the same budget."""
    least = {budget: best(peers, budget)[1] for budget in BUDGETS}
    body = [
        [name, *(times_as_large(error(row, b), least[b]) for b in BUDGETS)]
        for name, row in ours.items()
    ]
    return table(["ours / best peer", *map(str, BUDGETS)], body)


def means(peers: dict, ours: dict, names: list[str], stochastic: bool) -> str:
    """The geometric mean over problems of each of ours over the best peer."""
    logs: dict[str, list[list[float]]] = {}
    for name in names:
        theirs = of_kind(peers["problems"][name], stochastic)
        least = [best(theirs, b)[1] for b in BUDGETS]
        for key, row in of_kind(ours["problems"][name], stochastic).items():
            ratios = [error(row, b) / e for b, e in zip(BUDGETS, least, strict=True)]
            logs.setdefault(key, []).append([math.log(r) if r > 0 else -math.inf for r in ratios])
    body = [
        [
            key,
            *(
                times_as_large(math.exp(sum(some) / len(some)), 1.0)
                for some in zip(*rows, strict=True)
            ),
        ]
        for key, rows in logs.items()
    ]
    return table(["ours / best peer, geometric mean", *map(str, BUDGETS)], body)


def times(peers: dict[str, dict], ours: dict[str, dict]) -> str:
    """Microseconds of one core for an evaluation, outside the network."""
    rows = {**ours, **peers}
    shapes = list(next(iter(peers.values())))
    body = [
        [name, *(f"{1e6 * row[s]:.0f}" if s in row else "–" for s in shapes)]
        for name, row in rows.items()
    ]
    return table(["µs an evaluation, net of the network", *shapes], body)


def report(peers: dict, ours: dict, names: list[str]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in peers["versions"].items())
    parts = [
        f"# Samplers on problems with exact answers\n\nAgainst {versions}. Errors in units of σ_data."
    ]
    kinds = ((False, "deterministic, RMS error"), (True, "stochastic, sliced W2"))
    for stochastic, title in kinds:
        parts += [f"## All problems: {title}", means(peers, ours, names, stochastic)]
    for name in names:
        for stochastic, title in kinds:
            theirs = of_kind(peers["problems"][name], stochastic)
            mine = of_kind(ours["problems"][name], stochastic)
            if not mine:
                continue
            parts += [f"## {name}: {title}", champions(theirs, mine), ratios(theirs, mine)]
            if stochastic:
                parts.append(f"Two sets of exact draws are {shown(ours['floor'][name])} apart.")
            parts += ["Theirs:", errors(theirs), "Ours:", errors(mine)]
    parts += ["## Time", times(peers["overheads"], ours["overheads"])]
    return "\n\n".join(parts) + "\n"


def curve(axes, rows: dict[str, dict], **style) -> None:
    """The least error of a family of settings at every budget."""
    points = [(b, best(rows, b)[1]) for b in BUDGETS]
    points = [(b, e) for b, e in points if math.isfinite(e)]
    if points:
        axes.loglog(*zip(*points, strict=True), **style)


def figure(path: Path, peers: dict, ours: dict, names: list[str]) -> None:
    """One column a problem: deterministic samplers above, stochastic ones below."""
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    plot, grid = plt.subplots(
        2, len(names), figsize=(4 * len(names) + 3, 8), squeeze=False, layout="constrained"
    )
    families = sorted({name.split(" ")[0] for rows in ours["problems"].values() for name in rows})
    colours = {family: plt.get_cmap("tab20")(i % 20) for i, family in enumerate(families)}
    for j, name in enumerate(names):
        for i, stochastic in enumerate((False, True)):
            axes = grid[i][j]
            theirs = of_kind(peers["problems"][name], stochastic)
            mine = of_kind(ours["problems"][name], stochastic)
            for key, row in theirs.items():
                curve(axes, {key: row}, color="0.85", linewidth=0.8)
            curve(axes, theirs, color="black", linewidth=2.5, label="best of the peers")
            for family in families:
                group = {key: row for key, row in mine.items() if key.split(" ")[0] == family}
                if group:
                    curve(axes, group, color=colours[family], marker=".", label=family)
            least = [best(rows, b)[1] for rows in (theirs, mine) if rows for b in BUDGETS]
            axes.set_ylim(0.7 * min(least), 3 * max(x for x in least if math.isfinite(x)))
            axes.set_xticks(BUDGETS, BUDGETS, minor=False)
            axes.minorticks_off()
            axes.set_title(f"{name}, {'sliced W2' if stochastic else 'RMS error'}")
    for row in grid:
        row[-1].legend(loc="upper left", bbox_to_anchor=(1.02, 1.0))
    grid[1][0].set_xlabel("evaluations")
    plot.savefig(path, dpi=73)


def write(folder: Path, peers: dict, ours: dict, names: list[str]) -> None:
    """Print the tables and save them as tables.md, the figure as samplers.png."""
    text = report(peers, ours, names)
    (folder / "tables.md").write_text(text)
    figure(folder / "samplers.png", peers, ours, names)
    print(text)
