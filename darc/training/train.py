"""Train the two networks on simulated candidates and write them as ONNX files.

    python -m darc.training.train --folder darc/models TRAINING.npz ... --test TEST.npz

Needs PyTorch and onnx, which nothing else here does. The candidates come from `darc.training.candidates`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

#: Networks by the name of their file, and of their data.
NETWORKS = ("freqtime", "dmtime")
EPOCHS, BATCH, RATE, DECAY = 14, 64, 3e-3, 1e-3


class Network(nn.Module):  # type: ignore[misc]  # (PyTorch need not be here)
    """Three layers of convolutions, then a sum of their responses: in the middle, mean and highest anywhere.

    Takes images of any size, shape (n, 1, rows, times), and returns probabilities, shape (n,).
    """

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 1
        for number in (width, 2 * width, 2 * width):
            layers += [nn.Conv2d(channels, number, 3, padding=1, bias=False), nn.BatchNorm2d(number)]
            layers += [nn.ReLU(), nn.AvgPool2d(2)]
            channels = number
        self.features = nn.Sequential(*layers)
        # the middle of the image is told from its sides: a burst is in the centre
        self.judge = nn.Sequential(nn.Dropout(0.2), nn.Linear(3 * channels, 1))

    def logit(self, images: Any) -> Any:
        """Return the logarithm of the odds of a burst, shape (n,)."""
        features = self.features(images)
        ntime = features.shape[3]
        centre = features[:, :, :, ntime // 2 - 1 : ntime // 2 + 1]
        pooled = [centre.mean((2, 3)), features.mean((2, 3)), features.amax((2, 3))]
        return self.judge(torch.cat(pooled, 1)).squeeze(1)

    def forward(self, images: Any) -> Any:
        """Return the probability of a burst, shape (n,)."""
        return torch.sigmoid(self.logit(images))


def fit(images: Any, bursts: Any, seed: int) -> Network:
    """Train a network; each time it sees an image, that has a little more noise."""
    torch.manual_seed(seed)
    network = Network()
    optimiser = torch.optim.AdamW(network.parameters(), RATE, weight_decay=DECAY)
    steps = EPOCHS * -(-len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    for _ in range(EPOCHS):
        for part in torch.randperm(len(images)).split(BATCH):
            batch = images[part] + 0.1 * torch.randn_like(images[part])
            loss = nn.functional.binary_cross_entropy_with_logits(network.logit(batch), bursts[part])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    network.eval()
    return network


def report(network: Network, images: Any, data: dict[str, Any]) -> str:
    """Say how well a network does on candidates that it has not been trained with, at probability 0.5."""
    with torch.no_grad():
        kept = (network(images) >= 0.5).numpy()
    bursts, snr = data["burst"], data["snr"]
    lines = [f"of {np.sum(~bursts)} that are no bursts, {kept[~bursts].mean():.1%} kept"]
    for low, high in ((6, 8), (8, 10), (10, 15), (15, 1000)):
        chosen = bursts & (snr >= low) & (snr < high)
        lines.append(f"of {chosen.sum()} bursts of S/N {low} to {high}, {kept[chosen].mean():.1%} kept")
    return "\n".join(lines)


def load(paths: list[Path]) -> dict[str, Any]:
    """Return the candidates of several files together."""
    files = [np.load(path) for path in paths]
    return {name: np.concatenate([file[name] for file in files]) for name in files[0].files}


def main() -> None:
    """Train both networks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--folder", type=Path, required=True, help="where the networks are written")
    parser.add_argument("--test", type=Path, required=True, help="candidates to measure with")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("files", type=Path, nargs="+", help="candidates to train with")
    options = parser.parse_args()
    torch.set_num_threads(1)
    training, test = load(options.files), load([options.test])
    bursts = torch.from_numpy(training["burst"].astype(np.float32))
    for name in NETWORKS:
        network = fit(torch.from_numpy(training[name][:, None]), bursts, options.seed)
        images = torch.from_numpy(test[name][:, None])
        print(f"{name}:\n{report(network, images, test)}")
        path = options.folder / f"{name}.onnx"
        torch.onnx.export(
            network,
            (images[:1],),
            str(path),
            input_names=["image"],
            output_names=["probability"],
            dynamic_axes={"image": {0: "n"}, "probability": {0: "n"}},
            opset_version=17,
            dynamo=False,
        )
        print(f"{path}: {path.stat().st_size} bytes\n")


if __name__ == "__main__":
    main()
