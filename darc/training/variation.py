"""What is varied each time that an image is seen, and bursts that are bent until they are none."""

from __future__ import annotations

from typing import Any

import torch

#: Noise that is added, at most, and bins by which an image is shifted in time at most.
NOISE, SHIFT = 0.4, 1
#: How often some rows of an image are emptied, as masked channels are, and how many of them.
EMPTIED, EMPTY_PART = 0.2, 0.15
#: How many bursts are bent, each by so many of its widths at least, and that times this at most.
BENT, BEND_MIN, BEND_RANGE = 0.2, 1.6, 10.0
#: A row holds a part of a burst if its middle is so many standard deviations high; a burst that is bent has
#: so many such rows.
ROW_MIN, NROW_MIN = 0.8, 4
_MIDDLE = 2
_NTERM = 6


def varied(images: Any) -> Any:
    """Return images with more noise, shifted, some with rows that are empty.

    They are not turned upside down: at too high a DM, what is not dispersed bends to one side only.

    Args:
        images: shape (n, 1, rows, times)
    """
    shift = int(torch.randint(-SHIFT, SHIFT + 1, ()))
    number, rows = images.shape[0], images.shape[2]
    noise = NOISE * torch.rand(number, 1, 1, 1) ** 2
    images = (torch.roll(images, shift, 3) + noise * torch.randn_like(images)) / torch.sqrt(1 + noise**2)
    emptied = (torch.rand(number, 1, 1, 1) < EMPTIED) & (torch.rand(number, 1, rows, 1) < EMPTY_PART)
    return torch.where(emptied, 0.0, images)


def bent(images: Any, target: Any) -> tuple[Any, Any]:
    """Bend some bursts away from the law of dispersion, by more than their width: then they are none.

    Args:
        images: frequency against time, (n, 1, frequencies, times)
        target: 1 for bursts, (n,)

    Returns:
        both, changed where a burst was bent
    """
    rows = _rows(images)
    chosen = (target > 0) & (rows.sum(1) >= NROW_MIN) & (torch.rand(target.shape) < BENT)
    curve = _curves(rows)
    size = BEND_MIN * _widths(images, rows) * BEND_RANGE ** torch.rand(target.shape)
    shift = torch.floor(curve * torch.clamp(size, min=2.0)[:, None] + torch.rand(target.shape)[:, None])
    time = torch.arange(images.shape[3]) - shift.long()[:, None, :, None]
    turned = torch.gather(images, 3, time % images.shape[3])
    return torch.where(chosen[:, None, None, None], turned, images), torch.where(chosen, 0.0, target)


def _rows(images: Any) -> Any:
    """Return which rows hold a part of what is in the middle, (n, rows)."""
    middle = images.shape[3] // 2
    return images[:, 0, :, middle - _MIDDLE : middle + _MIDDLE].mean(2) > ROW_MIN


def _widths(images: Any, rows: Any) -> Any:
    """Return how many bins what is in the middle is wide at half its height, (n,)."""
    middle = images.shape[3] // 2
    profile = (images[:, 0] * rows[:, :, None]).sum(1)[:, middle // 2 : -middle // 2]
    return (profile > profile.amax(1, keepdim=True) / 2).sum(1).float()


def _curves(rows: Any) -> Any:
    """Draw curves, (n, rows): they extend over 1 within the rows that are True, and are 0 in one of these."""
    number, nrow = rows.shape
    x = torch.linspace(-1, 1, nrow)
    order = torch.arange(1, _NTERM + 1)[:, None]
    powers = torch.cos(order * torch.acos(x))  # Chebyshev's polynomials
    weights = torch.randn(number, _NTERM) * (torch.rand(number, _NTERM) < 0.5) / order[:, 0]
    curve = weights @ powers + 1e-3 * torch.randn(number, 1) * x
    highest = curve.masked_fill(~rows, -torch.inf).amax(1, keepdim=True)
    lowest = curve.masked_fill(~rows, torch.inf).amin(1, keepdim=True)
    place = torch.rand(number, nrow).masked_fill(~rows, -1.0).argmax(1, keepdim=True)
    there = rows.any(1, keepdim=True)
    scale = torch.where(there, highest - lowest, 1.0).clamp(min=1e-6)
    return torch.where(there, (curve - curve.gather(1, place)) / scale, 0.0)
