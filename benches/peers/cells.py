"""What is measured: networks, where, against whom, and the aims."""

from dataclasses import dataclass, field

# Programs by name: what is started, and the variant it is asked for.
PROGRAMS = {
    "steepest": ("steepest", "default"),
    "steepest off": ("steepest", "off"),
    "torch": ("torch", "eager"),
    "torch fused": ("torch", "fused"),
    "torch compiled": ("torch", "compiled"),
    "torch graph": ("torch", "graph"),
    "burn": ("burn", "default"),
    "meganeura": ("meganeura", "default"),
    "meganeura tuned": ("meganeura", "tuned"),
}


@dataclass
class Cell:
    """A network on a device. Its rows are the time of `base` over the time of each peer."""

    network: list
    batch: int
    optimizer: str
    lr: float
    place: str
    base: str
    # Peers in the order of the rows, each with the ratio that is aimed at, or None.
    peers: dict
    # Batches of the data set.
    batches: int = 16
    precision: str = "f32"
    # Programs whose losses are checked and whose time is not taken.
    witnesses: list = field(default_factory=list)

    @property
    def name(self):
        widths = "-".join(str(width) for width in self.network)
        return f"{widths}, {self.batch}" + ("" if self.precision == "f32" else f", {self.precision}")

    @property
    def id(self):
        return f"{self.name} {self.place}"

    @property
    def programs(self):
        return [self.base, *self.peers]


SMALL, MEDIUM = [64, 32, 10], [784, 512, 512, 10]
WIDE, LARGE = [1024, 1024, 1024, 1024, 10], [4096] * 7 + [10]



def on_cpu(torch, burn):
    """PyTorch as it is by default, then with what makes it faster, and burn."""
    return {"torch": torch, "torch fused": None, "torch compiled": None, "burn": burn}


CPU = [
    Cell(SMALL, 32, "adam", 1e-2, "cpu", "steepest", on_cpu(0.08, 0.4), batches=64),
    Cell(MEDIUM, 128, "momentum", 1e-1, "cpu", "steepest", on_cpu(0.85, 0.6)),
    Cell(WIDE, 256, "momentum", 1e-1, "cpu", "steepest", on_cpu(0.9, None)),
]

# Meganeura has no momentum, so the second network has plain descent here; PyTorch on the CPU is the witness of the losses.
ON_SOFTWARE = {"steepest": None, "meganeura": 0.8, "burn": 0.8}
SOFTWARE = [
    Cell(SMALL, 32, "adam", 1e-2, "software", "steepest off", ON_SOFTWARE, batches=64, witnesses=["torch"]),
    Cell(MEDIUM, 128, "sgd", 5e-1, "software", "steepest off", ON_SOFTWARE, witnesses=["torch"]),
]

ON_GPU = {"steepest off": None, "torch": None, "torch compiled": None, "torch graph": None}
ON_GPU_TOO = {**ON_GPU, "burn": None, "meganeura": None}
GPU = [
    Cell(SMALL, 32, "adam", 1e-2, "gpu", "steepest", ON_GPU_TOO, batches=64),
    Cell(MEDIUM, 128, "sgd", 5e-1, "gpu", "steepest", ON_GPU_TOO),
    Cell(WIDE, 256, "sgd", 5e-1, "gpu", "steepest", ON_GPU_TOO),
    Cell(LARGE, 4096, "sgd", 1e-1, "gpu", "steepest", ON_GPU_TOO, batches=4),
    Cell(LARGE, 4096, "sgd", 1e-1, "gpu", "steepest", ON_GPU, batches=4, precision="mixed"),
]

CELLS = CPU + SOFTWARE + GPU
