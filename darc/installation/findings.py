"""What a check finds: whether a thing is as a night needs it, and what to do if it is not."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from darc.errors import DARCError


class Grade(enum.StrEnum):
    """How grave it is: nothing to do, something that may be meant so, or the night will miss something."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "WRONG"


@dataclass(frozen=True)
class Finding:
    """What was found.

    Attributes:
        grade: how grave it is
        subject: what was looked at, in a word or two
        text: what it is like; unless all is well, what to do as well
    """

    grade: Grade
    subject: str
    text: str


def ok(subject: str, text: str) -> Finding:
    """Return that all is well."""
    return Finding(Grade.OK, subject, text)


def warning(subject: str, text: str) -> Finding:
    """Return what may be meant so."""
    return Finding(Grade.WARNING, subject, text)


def wrong(subject: str, text: str) -> Finding:
    """Return what has to be mended."""
    return Finding(Grade.WRONG, subject, text)


def tried(subject: str, action: Callable[[], str], failed: Callable[[str, str], Finding] = wrong) -> Finding:
    """Return what an action tells, or why it fails.

    Args:
        subject: what is tried
        action: tries it; returns what to say when it succeeds
        failed: makes the finding when it does not
    """
    try:
        return ok(subject, action())
    except DARCError as error:
        return failed(subject, str(error))


def worst(findings: Iterable[Finding]) -> Grade:
    """Return the gravest of the grades."""
    order = list(Grade)
    return max((finding.grade for finding in findings), key=order.index, default=Grade.OK)
