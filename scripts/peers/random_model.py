#!/usr/bin/env python3
"""Write a Mamba or Mamba-2 checkpoint of 130M shape with made-up weights, and prompts, for timing: `random_model.py FOLDER`.

Only Python's standard library is used: weights are cut out of one block of a million normal numbers.
"""

import array
import json
import math
import pathlib
import random
import struct
import sys

WIDTH, LAYERS, VOCABULARY, PADDED = 768, 24, 50277, 50280
BLOCK = 1 << 20


def main():
    rng = random.Random(0)
    block = array.array("f", (rng.gauss(0, 1) for _ in range(BLOCK)))

    def normal(*shape, std=0.02, shift=0.0):
        count = math.prod(shape)
        start = rng.randrange(BLOCK)
        scaled = array.array("f", (v * std + shift for v in block))
        doubled = scaled[start:] + scaled[:start]
        return shape, (doubled * (count // BLOCK + 1))[:count]

    def constant(*shape, value):
        return shape, array.array("f", [value]) * math.prod(shape)

    root = pathlib.Path(sys.argv[1])
    inner = 2 * WIDTH
    for kind in (1, 2):
        tensors = {"backbone.embedding.weight": normal(PADDED, WIDTH)}
        for i in range(LAYERS):
            layer = f"backbone.layers.{i}."
            mixer = layer + "mixer."
            tensors[layer + "norm.weight"] = constant(WIDTH, value=1.0)
            if kind == 1:
                tensors[mixer + "in_proj.weight"] = normal(2 * inner, WIDTH)
                tensors[mixer + "conv1d.weight"] = normal(inner, 1, 4, std=0.3)
                tensors[mixer + "conv1d.bias"] = normal(inner)
                tensors[mixer + "x_proj.weight"] = normal(48 + 32, inner)
                tensors[mixer + "dt_proj.weight"] = normal(inner, 48, std=0.1)
                tensors[mixer + "dt_proj.bias"] = normal(inner, shift=-4.0)
                tensors[mixer + "A_log"] = ((inner, 16), array.array("f", [math.log(n + 1) for n in range(16)]) * inner)
                tensors[mixer + "D"] = constant(inner, value=1.0)
            else:
                heads = inner // 64
                tensors[mixer + "in_proj.weight"] = normal(2 * inner + 256 + heads, WIDTH)
                tensors[mixer + "conv1d.weight"] = normal(inner + 256, 1, 4, std=0.3)
                tensors[mixer + "conv1d.bias"] = normal(inner + 256)
                tensors[mixer + "dt_bias"] = normal(heads, shift=-4.0)
                tensors[mixer + "A_log"] = ((heads,), array.array("f", [math.log(1 + 15 * rng.random()) for _ in range(heads)]))
                tensors[mixer + "D"] = constant(heads, value=1.0)
                tensors[mixer + "norm.weight"] = constant(inner, value=1.0)
            tensors[mixer + "out_proj.weight"] = normal(WIDTH, inner)
        tensors["backbone.norm_f.weight"] = constant(WIDTH, value=1.0)
        folder = root / f"mamba{kind}-130m"
        folder.mkdir(parents=True, exist_ok=True)
        header, at = {}, 0
        for name, (shape, values) in tensors.items():
            header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, at + 4 * len(values)]}
            at += 4 * len(values)
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        with open(folder / "model.safetensors", "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            for _, values in tensors.values():
                values.tofile(file)
        config = {"d_model": WIDTH, "n_layer": LAYERS, "vocab_size": VOCABULARY, "pad_vocab_size_multiple": 8}
        config["ssm_cfg"] = {"layer": "Mamba2", "d_state": 128, "headdim": 64, "ngroups": 1, "expand": 2} if kind == 2 else {}
        (folder / "config.json").write_text(json.dumps(config))
    for name, count in (("prompt.txt", 512), ("short.txt", 64)):
        (root / name).write_text(" ".join(str(rng.randrange(VOCABULARY)) for _ in range(count)) + "\n")


if __name__ == "__main__":
    main()
