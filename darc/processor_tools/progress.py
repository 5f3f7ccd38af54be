"""The counts of an observation's ledger as metrics of the node."""

from __future__ import annotations

from collections import Counter

from darc import metrics
from darc.processor_tools.ledger import Ledger


class Progress:
    """Lets the node's metrics follow the ledger of one observation."""

    def __init__(self) -> None:
        self._candidates = metrics.Follower(metrics.CANDIDATES)
        self._skipped = metrics.Follower(metrics.SKIPPED)

    def follow(self, ledger: Ledger) -> None:
        """Count what came since the last time."""
        stages = {
            "raw": ledger.rows,
            "clusters": ledger.clusters,
            "extracted": ledger.extracted,
            "kept": len(ledger.kept),
        }
        self._candidates.follow({(stage,): number for stage, number in stages.items()})
        skipped: Counter[tuple[str, ...]] = Counter()
        for stage, reasons in (("extraction", ledger.skipped), ("classification", ledger.unjudged)):
            for reason, number in reasons.items():
                # what follows the colon is of one observation only
                skipped[stage, reason.partition(":")[0]] += number
        self._skipped.follow(skipped)
