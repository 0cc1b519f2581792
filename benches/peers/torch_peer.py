"""PyTorch, as a program that speaks with the driver; see src/lib.rs for the lines.

Variants: `eager`, with the optimizers' defaults; `fused`, with the fused optimizer; `compiled`, forward and loss by
torch.compile and the fused optimizer; `graph`, the whole step of the eager network in a CUDA graph.
"""

import json
import struct
import sys
import time

import numpy
import torch


def read_safetensors(path):
    """Tensors of f32 by name: eight bytes with the length of a header in JSON, the header, then the numbers."""
    with open(path, "rb") as file:
        data = file.read()
    (length,) = struct.unpack("<Q", data[:8])
    tensors = {}
    for name, about in json.loads(data[8 : 8 + length]).items():
        if name != "__metadata__":
            begin, end = about["data_offsets"]
            numbers = numpy.frombuffer(data[8 + length + begin : 8 + length + end], "<f4")
            tensors[name] = torch.from_numpy(numbers.reshape(about["shape"]).copy())
    return tensors


def make_optimizer(task, variant, parameters):
    """The optimizer of the task. A CUDA graph needs Adam's step count on the device."""
    fused = True if variant in ("fused", "compiled") else None
    if task["optimizer"] == "adam":
        capturable = variant == "graph"
        return torch.optim.Adam(parameters, lr=task["lr"], fused=fused, capturable=capturable)
    momentum = {"sgd": 0.0, "momentum": 0.9}[task["optimizer"]]
    return torch.optim.SGD(parameters, lr=task["lr"], momentum=momentum, fused=fused)


class Peer:
    """A network with its data and optimizer."""

    def __init__(self, task):
        place, self.variant = task["place"], task["variant"]
        if place == "gpu" and not torch.cuda.is_available():
            raise RuntimeError("there is no CUDA device")
        if place == "software":
            raise RuntimeError("PyTorch has no Vulkan backend here")
        self.device = torch.device("cuda" if place == "gpu" else "cpu")
        # f32 means f32: no TF32 in products.
        torch.set_float32_matmul_precision("highest")
        torch.set_num_threads(task["threads"])
        tensors = read_safetensors(task["path"])
        layers = []
        for inputs, outputs in zip(task["network"], task["network"][1:]):
            layers += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU()]
        self.net = torch.nn.Sequential(*layers[:-1])
        state = {name: tensor for name, tensor in tensors.items() if name not in ("x", "labels")}
        self.net.load_state_dict(state)
        self.net.to(self.device)
        x = tensors["x"].to(self.device).split(task["batch"])
        labels = tensors["labels"].long().to(self.device).split(task["batch"])
        self.batches, self.next = list(zip(x, labels)), 0
        self.optimizer = make_optimizer(task, self.variant, self.net.parameters())
        self.criterion = torch.nn.CrossEntropyLoss()
        self.mixed = task["precision"] == "mixed"
        self.forward = torch.compile(self.loss_of) if self.variant == "compiled" else self.loss_of
        self.graph = None

    def loss_of(self, x, labels):
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.mixed):
            return self.criterion(self.net(x), labels)

    def train(self, x, labels):
        """One training step. Gradients are set to None, as by default."""
        self.optimizer.zero_grad()
        loss = self.forward(x, labels)
        loss.backward()
        self.optimizer.step()
        return loss

    def capture(self):
        """Records the step on a stream of its own. The steps before it make the optimizer's states, and are taken back."""
        self.inputs = tuple(tensor.clone() for tensor in self.batches[0])
        before = {name: tensor.clone() for name, tensor in self.net.state_dict().items()}
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self.train(*self.inputs)
        torch.cuda.current_stream().wait_stream(stream)
        self.optimizer.zero_grad()
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.graph_loss = self.train(*self.inputs)
        self.net.load_state_dict(before)
        for state in self.optimizer.state.values():
            for value in state.values():
                if torch.is_tensor(value):
                    value.zero_()

    def step(self):
        """The next batch."""
        batch = self.batches[self.next]
        self.next = (self.next + 1) % len(self.batches)
        if self.variant != "graph":
            return self.train(*batch)
        if self.graph is None:
            self.capture()
        for to, tensor in zip(self.inputs, batch):
            to.copy_(tensor)
        self.graph.replay()
        return self.graph_loss

    def losses(self, steps):
        return [self.step().item() for _ in range(steps)]

    def run(self, steps):
        """Seconds of so many steps."""
        start = time.perf_counter()
        for _ in range(steps):
            self.step()
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    def about(self):
        name = torch.cuda.get_device_name() if self.device.type == "cuda" else "cpu"
        backend = f"cuda {torch.version.cuda}" if self.device.type == "cuda" else torch.backends.cpu.get_cpu_capability()
        return {"device": name, "backend": backend, "threads": torch.get_num_threads()}


def answer(request, loaded):
    """The answer to a line."""
    if "load" in request:
        loaded.clear()
        loaded.append(Peer(request["load"]))
        return {"loaded": loaded[0].about()}
    if "losses" in request:
        return {"losses": loaded[0].losses(request["losses"])}
    return {"seconds": loaded[0].run(request["run"])}


def main():
    loaded = []
    for line in sys.stdin:
        try:
            reply = answer(json.loads(line), loaded)
        except Exception as error:  # whatever it is, the driver reports it
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
