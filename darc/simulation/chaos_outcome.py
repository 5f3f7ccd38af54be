"""What came of an observation at all receivers, and whether kills changed it beyond what the rules allow."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from darc.formats import voevent
from darc.formats.results import parse_triggers, triggers_name
from darc.simulation.dada_dbevent import Dropped, Event, MalformedMessageError, parse_message
from darc.simulation.receivers import Receivers

DUMPS, FREEZES, DOCUMENTS, MAILS = "dumps (IQUV)", "LOFAR", "VOEvents", "mails"
CANDIDATES = "candidates"
#: What has to be the same, and how often something may arrive.
RULES = {
    DUMPS: "at least once, while the data are in the buffer",
    FREEZES: "at most once; lost only if a process died while sending",
    DOCUMENTS: "all; again only under the same ivorn",
    MAILS: "at least once",
    CANDIDATES: "the same",
}
#: What logs say of something that is not sent, as the rules want it; a group is the number of such things.
_EXCUSES = {
    DUMPS: re.compile(r"its data are (?:lost|gone): '?N_EVENTS (\d+)"),
    FREEZES: re.compile(
        r"LOFAR may not have been told|not known whether this was sent|lofar_trigger.*: dropped after"
    ),
}


@dataclass
class Arrived:
    """What arrived of an observation, without what differs between two observations of the same.

    Attributes:
        times: how often each thing arrived, by receiver
        excused: number of things by receiver that are not to arrive by its rule, as logs and receivers tell
        wrong: what no rule allows
    """

    times: dict[str, Counter[Hashable]]
    excused: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Marks:
    """How much there was before an observation, so that only what came since then counts.

    Attributes:
        sizes: of the logs in bytes
        packets, documents, mails: numbers received
    """

    sizes: Mapping[Path, int]
    packets: int
    documents: int
    mails: int

    @classmethod
    def now(cls, receivers: Receivers, logs: Path) -> Marks:
        """Return the marks of this moment."""
        return cls(
            {path: path.stat().st_size for path in logs.glob("*.log")},
            len(receivers.lofar.received),
            len(receivers.broker.received),
            len(receivers.mail.received),
        )


def collect(receivers: Receivers, since: Marks, logs: Path, results: Iterable[Path], name: str) -> Arrived:
    """Return what arrived.

    Args:
        receivers: they tell of dumps, packets, documents and mails
        since: what was there before
        logs: folder of the logs
        results: folders of the results, one for each compound beam
        name: of the observation, as mails name it
    """
    arrived = Arrived({DUMPS: _dumps(receivers), CANDIDATES: Counter()})
    arrived.times[FREEZES] = _freezes(receivers, since)
    arrived.times[DOCUMENTS] = _documents(receivers, since, arrived.wrong)
    arrived.times[MAILS] = _mails(receivers, since, name)
    for number, folder in enumerate(results):
        for path in folder.glob(triggers_name(0).replace("00", "*")):
            found = parse_triggers(path.read_text(encoding="utf-8"))
            arrived.times[CANDIDATES].update(
                (number, round(t.time_s, 3), t.dm, t.downsamp, t.sb) for t in found
            )
    arrived.excused = _excused(logs, since)
    arrived.excused[DUMPS] += sum(_too_late(receivers).values())
    # a dump that came too late is excused, and one that is asked for twice is what the rule wants
    arrived.wrong += [problem for problem in receivers.problems() if "dropped the event" not in problem]
    return arrived


def _messages(receivers: Receivers) -> Iterable[tuple[int, Event, bool]]:
    """Give the events that were asked to be dumped: compound beam, event, whether its data were gone."""
    for (beam, _), server in receivers.dada.items():
        for record in server.received:
            gone = {
                o.event for o in record.outcomes if isinstance(o, Dropped) and "are kept from" in o.reason
            }
            try:
                events = parse_message(record.message)[1]
            except MalformedMessageError:
                continue  # `problems` tells
            yield from ((beam, event, event in gone) for event in events)


def _dumps(receivers: Receivers) -> Counter[Hashable]:
    messages = _messages(receivers)
    return Counter(
        (beam, event.start_ms, event.end_ms, event.dm) for beam, event, gone in messages if not gone
    )


def _too_late(receivers: Receivers) -> Counter[Hashable]:
    in_time = _dumps(receivers)
    late = (
        (beam, event.start_ms, event.end_ms, event.dm) for beam, event, gone in _messages(receivers) if gone
    )
    return Counter(set(late) - set(in_time))


def _freezes(receivers: Receivers, since: Marks) -> Counter[Hashable]:
    start_ms = round(receivers.start_unix * 1e3)
    packets = (each.packet for each in receivers.lofar.received[since.packets :])
    return Counter(
        (packet.freeze_time_s * 1000 + packet.freeze_time_ms - start_ms, packet.dm)
        for packet in packets
        if packet
    )


def _documents(receivers: Receivers, since: Marks, wrong: list[str]) -> Counter[Hashable]:
    found: Counter[Hashable] = Counter()
    ivorns: dict[Hashable, set[str]] = {}
    for received in receivers.broker.received[since.documents :]:
        event = voevent.parse(received.content)
        time_ms = round((event.arrival_time.timestamp() - receivers.start_unix) * 1e3)
        content = time_ms, event.dm, event.snr, event.width_ms
        found[content] += 1
        ivorns.setdefault(content, set()).add(event.ivorn)
    wrong += [f"a VOEvent under {len(names)} ivorns: {names}" for names in ivorns.values() if len(names) > 1]
    return found


def _mails(receivers: Receivers, since: Marks, name: str) -> Counter[Hashable]:
    """Return the mails: those of results, and those of LOFAR triggers by their DM."""
    subjects = [mail.subject for mail in receivers.mail.received[since.mails :]]
    about = (re.search(r"DM [\d.]+$", subject) for subject in subjects)
    found: Counter[Hashable] = Counter(match[0] for match in about if match)
    found["results"] = sum(subject.startswith(name) and "candidate" in subject for subject in subjects)
    return found


def _excused(logs: Path, since: Marks) -> Counter[str]:
    found: Counter[str] = Counter()
    for path in logs.glob("*.log"):
        with path.open("rb") as stream:
            stream.seek(since.sizes.get(path, 0))
            text = stream.read().decode("utf-8", "replace")
        found.update(excused_in(text))
    return found


def excused_in(text: str) -> Counter[str]:
    """Return the number of things by receiver that lines of logs say are not sent, as its rule wants it."""
    found: Counter[str] = Counter()
    for what, pattern in _EXCUSES.items():
        found[what] = sum(int(match[1]) if pattern.groups else 1 for match in pattern.finditer(text))
    return found


@dataclass(frozen=True)
class Row:
    """A line of the comparison.

    Attributes:
        what: what is compared
        expected, arrived: different things in the undisturbed observation, and in the disturbed one
        repeated: how many arrived more than once
        missing, excused: how many did not arrive, and how many of them are not to arrive by the rule
        unexpected: things that the undisturbed observation did not bring
        wrong: what breaks the rule; empty if nothing does
    """

    what: str
    expected: int
    arrived: int
    repeated: int
    missing: int
    excused: int
    unexpected: int
    wrong: tuple[str, ...]


def compare(undisturbed: Arrived, disturbed: Arrived) -> list[Row]:
    """Compare a disturbed observation with the undisturbed one."""
    lost = undisturbed.times[FREEZES].keys() - disturbed.times[FREEZES].keys()
    # nobody is mailed about a trigger that LOFAR was not sent
    disturbed.excused[MAILS] = min(len(lost), disturbed.excused[FREEZES])
    return [_row(what, undisturbed.times[what], disturbed) for what in RULES]


def _row(what: str, expected: Counter[Hashable], disturbed: Arrived) -> Row:
    arrived = +disturbed.times[what]
    missing, unexpected = expected.keys() - arrived.keys(), arrived.keys() - expected.keys()
    repeated = {each: number for each, number in arrived.items() if number > max(1, expected[each])}
    excused = min(len(missing), disturbed.excused[what])
    wrong = [f"unexpected: {each}" for each in unexpected]
    if len(missing) > excused:
        wrong.append(f"missing, {excused} of them for a reason: {sorted(map(str, missing))}")
    if what in (FREEZES, CANDIDATES):
        wrong += [f"{number} times: {each}" for each, number in repeated.items()]
    return Row(
        what, len(expected), len(arrived), len(repeated), len(missing), excused, len(unexpected), tuple(wrong)
    )
