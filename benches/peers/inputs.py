"""Initial weights and data, the same for all programs, as a safetensors file."""

import json
import math
import struct

import numpy

SEED = 1


def make_inputs(network, batch, batches):
    """Weights as PyTorch draws them, uniform to 1/sqrt(fan-in) (named as in torch.nn.Sequential, activations counted);
    features standard normal. A class is the largest of as many random linear functions of the features, which can be learnt, or,
    as often, a random one, so that the small network never comes to rest, where Adam's means would become denormal."""
    random = numpy.random.default_rng(SEED)
    rows = batch * batches
    x = random.normal(size=(rows, network[0])).astype("<f4")
    labels = (x @ random.normal(size=(network[0], network[-1])).astype("<f4")).argmax(axis=1)
    labels = numpy.where(random.random(rows) < 0.5, labels, random.integers(network[-1], size=rows))
    tensors = {"x": x, "labels": labels.astype("<f4")}
    for i, (inputs, outputs) in enumerate(zip(network, network[1:])):
        bound = 1 / math.sqrt(inputs)
        tensors[f"{2 * i}.weight"] = random.uniform(-bound, bound, (outputs, inputs)).astype("<f4")
        tensors[f"{2 * i}.bias"] = random.uniform(-bound, bound, outputs).astype("<f4")
    return tensors


def write_inputs(path, network, batch, batches):
    """A safetensors file: eight bytes with the length of a header in JSON, the header, then the numbers."""
    tensors, header, offset = make_inputs(network, batch, batches), {}, 0
    for name, tensor in tensors.items():
        end = offset + tensor.nbytes
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors.values():
            file.write(tensor.tobytes())
