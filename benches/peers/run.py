"""Steepest against its peers: the same networks, data and optimizers, a program each, in turn.

    python run.py                       the cells of the CPU and of the software adapter
    python run.py --gpu                 those of a real GPU too
    python run.py --only cpu 64-32      cells whose name or place holds one of the words
    python run.py --without burn        without the programs whose names begin so
    python run.py --quick               few and short rounds, nothing written: does all of it work?

Results are merged into one file: a cell that is measured again replaces the older one. See README.md.
"""

import argparse
import datetime
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

from cells import CELLS, PROGRAMS
from inputs import write_inputs
from program import Failed, Program

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "results"
# Steps whose losses have to agree, and how well. Rounding makes differences of up to 1e-5 in them; Adam with an epsilon of 1e-5
# in place of 1e-8 makes 1e-3, dampening of 0.1 makes 1e-3 to 8e-3, a rate that is 2 % higher 5e-4.
CHECKED, TOLERANCE = 20, 1e-4
# The first steps of a program that tunes its kernels take minutes.
PATIENCE = 600


def disagreement(losses, reference):
    """The largest relative difference of two series of losses, and its step from 1; infinite where one is no number."""
    worst, at = 0.0, 1
    for step, (own, other) in enumerate(zip(losses, reference, strict=True), 1):
        difference = abs(own - other) / abs(other) if own == own and other == other else float("inf")
        if difference > worst:
            worst, at = difference, step
    return worst, at


def summary(seconds):
    """Median, least and quartiles."""
    first, median, third = statistics.quantiles(seconds, n=4, method="inclusive")
    return {"median": median, "min": min(seconds), "first_quartile": first, "third_quartile": third}


def rows(cell, seconds):
    """A row for each peer that was measured: the base's median over the peer's, and whether that is what is aimed at."""
    if cell.base not in seconds:
        return []
    base, found = seconds[cell.base], []
    for peer, aim in cell.peers.items():
        if peer in seconds:
            ratio = statistics.median(base) / statistics.median(seconds[peer])
            ratios = statistics.median(own / other for own, other in zip(base, seconds[peer]))
            met = None if aim is None else ratio <= aim
            found.append({"peer": peer, "ratio": ratio, "median_of_ratios": ratios, "aim": aim, "met": met})
    return found


def duration(seconds):
    """With three digits and a unit."""
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "us")):
        if seconds * factor >= 1 or unit == "us":
            return f"{seconds * factor:.3g} {unit}"


class Bench:
    """How it is measured: which programs, for how long."""

    def __init__(self, options, binaries):
        self.options, self.binaries = options, binaries
        self.threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()

    def wanted(self, name):
        return not any(name.startswith(word) for word in self.options.without)

    def command(self, name):
        program = PROGRAMS[name][0]
        return [sys.executable, str(HERE / "torch_peer.py")] if program == "torch" else [self.binaries[program]]

    def load(self, cell, path, name, place):
        """A program with the network of the cell, and what it says of its device."""
        program = Program(name, self.command(name))
        task = {key: getattr(cell, key) for key in ("network", "batch", "optimizer", "lr", "precision")}
        task |= {"place": place, "path": str(path), "variant": PROGRAMS[name][1], "threads": self.threads}
        try:
            return program, program.ask(PATIENCE, load=task)
        except Failed:
            program.end()
            raise

    def measure(self, cell):
        """A cell: loaded, checked, timed. What fails is in `not_measured`, and what differs in `differ`."""
        found = {"name": cell.name, "place": cell.place, "date": datetime.date.today().isoformat(), "programs": {}}
        found |= {key: getattr(cell, key) for key in ("network", "batch", "optimizer", "lr", "precision", "base")}
        found |= {"not_measured": {}, "differ": {}, "rows": []}
        loaded, losses = {}, {}
        try:
            self.load_all(cell, found, loaded, losses)
            self.check(found, losses)
            timed = [name for name in cell.programs if name in losses and name not in found["differ"]]
            seconds = self.rounds(cell, {name: loaded[name] for name in timed}, found)
            found["rows"] = rows(cell, seconds)
        finally:
            for program in loaded.values():
                program.end()
        return found

    def load_all(self, cell, found, loaded, losses):
        """Starts the programs, the base first: without it there is no row. Fills `loaded` and `losses`."""
        names = [(name, cell.place) for name in cell.programs] + [(name, "cpu") for name in cell.witnesses]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "inputs.safetensors"
            write_inputs(path, cell.network, cell.batch, cell.batches)
            for name, place in [(name, place) for name, place in names if self.wanted(name)]:
                try:
                    loaded[name], about = self.load(cell, path, name, place)
                    losses[name] = loaded[name].ask(PATIENCE, losses=CHECKED)
                    found["programs"][name] = about
                except Failed as failure:
                    found["not_measured"][name] = str(failure)
                    if name == cell.base:
                        break

    def check(self, found, losses):
        """Losses against those of the first program that gave some: PyTorch's, unless it was left out."""
        reference = next((name for name in losses if name == "torch"), next(iter(losses), None))
        found["reference"] = reference
        for name, own in losses.items():
            worst, at = disagreement(own, losses[reference])
            found["programs"][name] |= {"first_loss": own[0], "last_checked_loss": own[-1], "disagreement": worst}
            if not worst <= TOLERANCE:
                found["differ"][name] = f"step {at}: {own[at - 1]:.6g}, {reference} has {losses[reference][at - 1]:.6g}"

    def rounds(self, cell, programs, found):
        """Seconds of a step of each program in each round, the order rotating."""
        quick, software = self.options.quick, cell.place == "software"
        turn, count = (0.05, 3) if quick else (0.6, 9) if software else (0.3, 15)
        each = {}
        for name, program in programs.items():
            try:
                # Once to warm up.
                each[name] = min([program.ask(PATIENCE, run=10) for _ in range(3)][1:]) / 10
            except Failed as failure:
                found["not_measured"][name] = str(failure)
        # As many steps for all: what a step costs can depend on how far training has come, by denormal numbers for one. In tens,
        # since some of what is measured is due every ten steps.
        steps = max(10, round(turn / max(each.values(), default=turn) / 10) * 10)
        names, seconds = list(each), {name: [] for name in each}
        for round_ in range(count + 1):
            for turn_ in range(len(names)):
                name = names[(turn_ + round_) % len(names)]
                # Threads that wait for more work in a loop get the time to go to sleep.
                time.sleep(0.05)
                seconds[name].append(programs[name].ask(PATIENCE, run=steps) / steps)
        # The first round warms up, too.
        seconds = {name: taken[1:] for name, taken in seconds.items()}
        for name in names:
            found["programs"][name] |= {"steps_a_turn": steps, "rounds": count, "seconds": summary(seconds[name])}
        return seconds


def show(cell, found):
    """A line for each row."""
    print(f"\n{cell.name}  {cell.place}  {cell.optimizer}, lr {cell.lr:g}, losses against {found.get('reference')}")
    programs = found["programs"]
    for row in found["rows"]:
        base, peer = (programs[name]["seconds"]["median"] for name in (cell.base, row["peer"]))
        aim = "" if row["aim"] is None else f"  aim {row['aim']}  {'met' if row['met'] else 'NOT MET'}"
        times = f"{cell.base} {duration(base)}  {row['peer']} {duration(peer)}"
        print(f"{cell.name}  {cell.place}  {times}  ratio {row['ratio']:.3f}{aim}")
    for name, why in found["differ"].items():
        print(f"{cell.name}  {cell.place}  {name}: LOSSES DIFFER: {why}")
    for name, why in found["not_measured"].items():
        print(f"{cell.name}  {cell.place}  {name}: not measured: {why}")
    if found["programs"]:
        worst = {name: f"{about['disagreement']:.1e}" for name, about in programs.items() if "disagreement" in about}
        print("  largest relative difference of losses:", ", ".join(f"{name} {x}" for name, x in worst.items()))
    sys.stdout.flush()


def build():
    """Builds the programs and says where they are."""
    subprocess.run(["cargo", "build", "--release", "--locked"], cwd=HERE, check=True)
    return binaries()


def binaries():
    """Where cargo puts the programs."""
    command = ["cargo", "metadata", "--format-version", "1", "--no-deps"]
    about = json.loads(subprocess.run(command, cwd=HERE, check=True, capture_output=True, text=True).stdout)
    folder = Path(about["target_directory"]) / "release"
    return {name: str(folder / name) for name in ("steepest", "burn", "meganeura")}


def environment(threads):
    """What the figures depend on. No name and no path of the machine."""
    locked = tomllib.loads((HERE / "Cargo.lock").read_text())["package"]
    versions = {p["name"]: p["version"] for p in locked if p["name"] in ("steepest", "burn", "meganeura")}
    pinned = dict(line.split("==") for line in (HERE / "requirements.txt").read_text().split())
    rustc = subprocess.run(["rustc", "--version"], cwd=HERE, capture_output=True, text=True).stdout.split()[1]
    return {
        "cpu": cpu(),
        "threads": threads,
        "system": f"{platform.system()} {platform.machine()}",
        "versions": versions | pinned | {"rustc": rustc, "python": platform.python_version()},
    }


def cpu():
    """The name of the CPU."""
    try:
        text = Path("/proc/cpuinfo").read_text()
        return re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE).group(1)
    except (OSError, AttributeError):
        return platform.processor() or platform.machine()


def merge(path, about, measured):
    """The file with these cells in place of older ones of the same name, in the order of cells.py."""
    old = json.loads(path.read_text()) if path.exists() else {"environment": about, "cells": []}
    if old["environment"] != about:
        raise SystemExit(f"{path.name} was measured in another environment; name another file with --out, or remove it")
    cells = {f"{cell['name']} {cell['place']}": cell for cell in old["cells"] + measured}
    order = [cell.id for cell in CELLS]
    old["cells"] = sorted(cells.values(), key=lambda cell: order.index(f"{cell['name']} {cell['place']}"))
    path.write_text(json.dumps(old, indent=1) + "\n")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpu", action="store_true", help="measure the cells of a real GPU too")
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD", help="cells whose name or place holds a word")
    parser.add_argument("--without", nargs="+", default=[], metavar="PROGRAM", help="leave programs out")
    parser.add_argument("--quick", action="store_true", help="few and short rounds; nothing is written")
    parser.add_argument("--no-build", action="store_true", help="take the programs as they are")
    parser.add_argument("--out", type=Path, help="the file of results")
    return parser.parse_args()


def main():
    options = arguments()
    bench = Bench(options, binaries() if options.no_build else build())
    about = environment(bench.threads)
    slug = re.sub(r"[^a-z0-9]+", "-", about["cpu"].lower()).strip("-")
    path = options.out or RESULTS / f"peers-{slug}.json"
    print(f"{about['cpu']}, {bench.threads} threads, {about['versions']}")
    measured, left_out, failed = [], 0, False
    for cell in CELLS:
        if options.only and not any(word in cell.id for word in options.only):
            continue
        if cell.place == "gpu" and not options.gpu:
            left_out += len(cell.peers)
            continue
        found = bench.measure(cell)
        show(cell, found)
        measured.append(found)
        left_out += len(cell.peers) - len(found["rows"])
        failed = failed or bool(found["differ"])
    met = [row["met"] for cell in measured for row in cell["rows"] if row["met"] is not None]
    print(f"\naims: {sum(met)} of {len(met)} met; rows not measured: {left_out}")
    if measured and not options.quick:
        merge(path, about, measured)
        print(f"written: {path.name}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
