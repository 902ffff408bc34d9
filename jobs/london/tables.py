#!/usr/bin/env python3
"""tables.py OUT - the tables of docs/evidence.md from what jobs/london.sh left in OUT/seed*/.

AUC by video (mean score of its frames), mean over seeds; 95 % intervals by bootstrap: in every replicate the people of each seed's test
split are drawn again with replacement, the same draw for all conditions, so that differences are of pairs.
"""
import csv
import glob
import json
import os
import random
import sys

REPLICATES = 2000


def videos_of(path):
    """[(identity, method, score)] of each video: the mean of its frames' scores."""
    sums = {}
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            total = sums.setdefault(row["video"], [row["identity"], row["method"], 0.0, 0])
            total[2] += float(row["score"])
            total[3] += 1
    return [(identity, method, total / n) for identity, method, total, n in sums.values()]


def wins_of(videos, methods, people):
    """By person of the real and person of the fake: pairs in which the fake scores higher (ties half), and all pairs."""
    number = {person: i for i, person in enumerate(people)}
    wins = [[0.0] * len(people) for _ in people]
    pairs = [[0] * len(people) for _ in people]
    reals = [(number[who], score) for who, method, score in videos if method == "real"]
    for who, method, score in videos:
        if method in methods:
            for real, real_score in reals:
                wins[real][number[who]] += (score > real_score) + 0.5 * (score == real_score)
                pairs[real][number[who]] += 1
    return wins, pairs


def auc_of(cell, times):
    """times: how often each person was drawn."""
    wins, pairs = cell
    drawn = [i for i, n in enumerate(times) if n > 0]
    top = sum(times[i] * times[j] * wins[i][j] for i in drawn for j in drawn)
    all_pairs = sum(times[i] * times[j] * pairs[i][j] for i in drawn for j in drawn)
    return top / all_pairs if all_pairs > 0 else float("nan")


class Seed:
    """One seed's evaluation of one network: cells[condition][group], people."""

    def __init__(self, folder):
        with open(os.path.join(folder, "metrics.json")) as file:
            sets = json.load(file)["sets"]
        groups = groups_of(folder)
        scores = {s["model"].split("-", 1)[1]: videos_of(os.path.join(folder, s["scores"])) for s in sets}
        self.people = sorted({who for videos in scores.values() for who, _, _ in videos})
        self.cells = {
            condition: {group: wins_of(videos, methods, self.people) for group, methods in groups.items()}
            for condition, videos in scores.items()
        }


def groups_of(folder):
    """The seen and unseen forgeries of a seed, from its runs' configuration."""
    seed = os.path.dirname(os.path.dirname(folder))
    with open(glob.glob(os.path.join(seed, "runs", "*", "config.yaml"))[0]) as file:
        line = next(line for line in file if line.strip().startswith("methods:"))
    seen = set(json.loads(line.split(":", 1)[1].split("#")[0]))
    return {"seen": seen, "unseen": {"swap", "paste", "reenact", "mouth", "blend"} - seen}


def mean(values):
    return sum(values) / len(values)


def interval(values):
    ordered = sorted(values)
    return ordered[int(0.025 * len(ordered))], ordered[int(0.975 * len(ordered)) - 1]


def last_loss(run):
    """The mean loss of a run's last epoch."""
    with open(os.path.join(run, "log.jsonl")) as file:
        return [json.loads(line) for line in file if '"epoch"' in line][-1]["loss_nats"]


def detector_table(net, folders):
    seeds = [Seed(folder) for folder in folders]
    conditions = list(seeds[0].cells)
    rng = random.Random(1)
    draws = []
    for _ in range(REPLICATES):
        draw = []
        for seed in seeds:
            times = [0] * len(seed.people)
            for _ in seed.people:
                times[rng.randrange(len(seed.people))] += 1
            draw.append(times)
        draws.append(draw)

    def auc(condition, group, draw):
        return mean([auc_of(seed.cells[condition][group], times) for seed, times in zip(seeds, draw)])

    whole = [[1] * len(seed.people) for seed in seeds]
    print(f"\n### {net}: AUC by video, mean of {len(seeds)} seeds, {sum(len(s.people) for s in seeds)} people tested\n")
    print("| condition | training loss, nats | seen | unseen | unseen - none |")
    print("|---|---|---|---|---|")
    base = [auc("none", "unseen", draw) for draw in draws]
    for condition in conditions:
        cells = []
        for group in ("seen", "unseen"):
            values = base if (condition, group) == ("none", "unseen") else [auc(condition, group, draw) for draw in draws]
            cells.append("%.3f [%.3f, %.3f]" % (auc(condition, group, whole), *interval(values)))
        difference = "-"
        if condition != "none":
            here = auc(condition, "unseen", whole) - auc("none", "unseen", whole)
            difference = "%+.3f [%+.3f, %+.3f]" % (here, *interval([v - b for v, b in zip(values, base)]))
        loss = mean([last_loss(os.path.join(f, "..", "..", "runs", f"{net}-{condition}")) for f in folders])
        print(f"| {condition} | {loss:.3f} | {cells[0]} | {cells[1]} | {difference} |")


def maps_table(out):
    print("\n### Maps of training images: what they cover, and whether that is where the forgeries changed the faces\n")
    print("Region: share of the image. Lift: how many times more of the region lies in the changed pixels than by chance. Leak: AUC with which")
    print("the maps alone, without a pixel of the image, tell fakes from reals.\n")
    methods = ["swap", "paste", "reenact", "mouth", "blend"]
    print("| maps | region, reals | region, fakes | leak | " + " | ".join("lift " + m for m in methods) + " |")
    print("|---|---|---|---|" + "---|" * len(methods))
    for name in ("expand", "neighbor", "average", "zoo1", "zoo2", "fake"):
        traces, leaks = [], []
        for path in sorted(glob.glob(os.path.join(out, "seed*", "maps", name + ".json"))):
            with open(path) as file:
                answer = json.load(file)
            traces.append(answer["traces"])
            leaks.append(answer["leak_auc"])
        fakes = [t[m]["region"] for t in traces for m in methods if t[m]["images"] > 0]
        lifts = []
        for method in methods:
            values = [t[method]["lift"] for t in traces if t[method].get("lift") is not None]
            lifts.append("%.2f" % mean(values) if values else "-")
        regions = mean([t["real"]["region"] for t in traces]), mean(fakes)
        print("| %s | %.3f | %.3f | %.3f | %s |" % (name, *regions, mean(leaks), " | ".join(lifts)))


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    out = sys.argv[1]
    for net in ("meso4", "resnet50", "xception"):
        folders = sorted(glob.glob(os.path.join(out, "seed*", "eval", net)))
        if folders:
            detector_table(net, folders)
    maps_table(out)


main()
