"""The tables of benchmarks/aggregate.py: ratios beside the targets, met or not."""

from __future__ import annotations

from typing import Any

FLOWER, NUMPY, TORCH = "Flower", "NVFLARE, numpy", "NVFLARE, torch"
ALONE = "fedmed, arithmetic alone"
SIGNED = "fedmed, verified, written, hashed, signed"
BEFORE, INBOX = "fedmed aggregate, updates taken in before", "fedmed aggregate, all in the inbox"
SAVE, DURABLE, SEALED = "safetensors", "safetensors and fsync", "fedmed: hashed, signed, on the disk"
ROOM, A_SITE = 100, 1.0  # MB that the whole may take, and what each site may add

Row = dict[str, Any]
Target = tuple[str, str, str, str]  # what, measured, demanded, verdict


def text(found: dict[str, Any]) -> str:
    groups: dict[tuple[str, str], dict[str, Row]] = {}
    for row in found["rows"]:
        groups.setdefault((row["size"], row["group"]), {})[row["contender"]] = row
    sizes = list(dict.fromkeys(size for size, _ in groups))
    out = [
        "# Aggregation beside Flower and NVFLARE",
        "",
        f"The same updates in float32, on {found['machine']}. Every contender is a process of its own; they take",
        "turns, on warm files; medians of n runs. Use the ratios, not the seconds. Peers read the updates as plain",
        "safetensors files, aggregate by their own call and save the result: nothing is verified, hashed or signed.",
        "`seconds` is without imports and, of a peer, reading and its call alone; `whole` is the process from start to",
        "end. `own` is memory without pages of files. All rows of fedmed but the first also compare the updates with",
        "each other, as every round does; the second lacks only start-up and the copy for the outbox.",
        "Made by `python benchmarks/aggregate.py`.",
        "",
        "## Targets",
        "",
        "| what | size | measured | target | |",
        "|---|---|---:|---:|---|",
    ]
    for size in sizes:
        out += [
            f"| {what} | {size} | {got} | {asked} | {verdict} |" for what, got, asked, verdict in targets(groups, size)
        ]
    for size in sizes:
        for rule in ("mean", "median", "trimmed mean"):
            out += ["", f"## {size}: {rule}", "", *contenders(groups[size, rule])]
    first = sizes[0]
    if (first, "strategy") in groups:
        out += ["", f"## What a strategy costs, {first}", "", *strategies(groups[first, "strategy"])]
        out += ["", f"## An update as a site writes it, {first.split(' x ')[1]}", "", *updates(groups[first, "update"])]
    return "\n".join(out)


def targets(groups: dict[tuple[str, str], dict[str, Row]], size: str) -> list[Target]:
    mean = groups[size, "mean"]
    sites = int(size.split(maxsplit=1)[0])
    nvflare = min(NUMPY, TORCH, key=lambda who: float(mean[who]["whole"]))
    found = [
        ratio("mean, verified, written, hashed, signed / Flower", mean, SIGNED, FLOWER, "seconds", 0.5),
        ratio("mean, the arithmetic alone / Flower", mean, ALONE, FLOWER, "seconds", 0.15),
        ratio("mean, the arithmetic alone / NVFLARE's torch helper", mean, ALONE, TORCH, "seconds", 2),
    ]
    for who, words in ((BEFORE, "updates taken in before"), (INBOX, "all in the inbox")):
        found += [
            ratio(f"whole command, {words} / {peer}", mean, who, peer, "whole", 0.5) for peer in (FLOWER, nvflare)
        ]
    for rule in ("median", "trimmed mean"):
        rows = groups[size, rule]
        found.append(ratio(f"{rule}, the arithmetic alone / Flower", rows, ALONE, FLOWER, "seconds", 0.15))
        found.append(ratio(f"{rule}, verified ... signed / Flower", rows, SIGNED, FLOWER, "seconds", 0.15))
    asked = ROOM + sites * A_SITE
    for who, words in ((BEFORE, "updates taken in before"), (INBOX, "all in the inbox")):
        peak = float(mean[who]["mb"])
        found.append((f"peak memory of `aggregate`, {words}", f"{peak:.0f} MB", f"{asked:.0f} MB", met(peak, asked)))
    if (size, "update") in groups:
        rows = groups[size, "update"]
        found.append(ratio("write + hash + sign an update / safetensors", rows, SEALED, SAVE, "seconds", 1.6))
        found.append(ratio("the same / safetensors and fsync", rows, SEALED, DURABLE, "seconds", 1.6))
    return found


def ratio(words: str, rows: dict[str, Row], ours: str, theirs: str, what: str, asked: float) -> Target:
    got = float(rows[ours][what]) / float(rows[theirs][what])
    return words, f"{got:.2f} x", f"{asked:g} x", met(got, asked)


def met(got: float, asked: float) -> str:
    return "met" if got <= asked else "**not met**"


def contenders(rows: dict[str, Row]) -> list[str]:
    out = [
        "| | n | seconds | x Flower | whole | x Flower | peak MB | own MB |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    flower = rows[FLOWER]
    for who, row in rows.items():
        inner = f"{row['seconds']:.2f} | {row['seconds'] / flower['seconds']:.2f}" if "seconds" in row else " | "
        whole = f"{row['whole']:.2f} | {row['whole'] / flower['whole']:.2f}"
        out.append(f"| {who} | {row['n']} | {inner} | {whole} | {row['mb']:.0f} | {row['own_mb']:.0f} |")
    return out


def strategies(rows: dict[str, Row]) -> list[str]:
    out = [
        "Verified, compared, combined, written and signed, in round 0: what a strategy remembers is written, and not",
        "read yet. SCAFFOLD, whose files are twice as long, is left out.",
        "",
        "| strategy | n | seconds | x the mean | peak MB | MB beside the mean's |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    mean = rows["fedavg"]
    for who, row in rows.items():
        times, more = row["seconds"] / mean["seconds"], row["mb"] - mean["mb"]
        out.append(f"| {who} | {row['n']} | {row['seconds']:.2f} | {times:.2f} | {row['mb']:.0f} | {more:+.0f} |")
    return out


def updates(rows: dict[str, Row]) -> list[str]:
    out = ["| | n | seconds | x safetensors |", "|---|---:|---:|---:|"]
    base = rows[SAVE]["seconds"]
    return out + [
        f"| {who} | {row['n']} | {row['seconds']:.3f} | {row['seconds'] / base:.2f} |" for who, row in rows.items()
    ]
