"""A queue between processes of one machine that a killed process cannot wedge.

`multiprocessing.Queue` guards its pipe by a lock that all processes share; a reader or writer that is killed
while it holds the lock stops all others for good. Here the kernel does the locking: the queue is a connected
pair of `SOCK_SEQPACKET` sockets, whose messages are written and read whole or not at all, and what a dead
reader left unread its successor finds. A process that is killed costs at most the one item it had in hand.

Items are pickled. One that is larger than a fragment is cut into several, which the reader puts together;
fragments of which the rest never comes, or whose beginning went to a reader that died, are discarded.
"""

from __future__ import annotations

import fcntl
import math
import os
import pickle
import select
import socket
import struct
import sys
import termios
import threading
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing import context, reduction
from queue import Empty, Full
from typing import Any

#: Fragment: writer, number of the item, index of the fragment, number of fragments of the item.
_HEADER = struct.Struct("=QQII")
#: An item in one piece needs neither writer nor number.
_WHOLE = _HEADER.pack(0, 0, 0, 1)
#: Largest fragment with its header in bytes; several fit into the kernel's smallest default buffer (208 KiB).
_MAX_FRAGMENT = 1 << 16
#: Unfinished items of a reader in bytes, above which the one that waits longest is given up.
_MAX_UNFINISHED = 64 << 20
#: Longest single wait in s (`poll` takes milliseconds in 32 bits).
_MAX_WAIT_S = 3600.0
#: SO_SNDBUFFORCE of Linux, which the socket module does not name.
_SO_SNDBUFFORCE = 32
_NOTHING = object()


@dataclass(slots=True)
class _Unfinished:
    """An item of which fragments are still to come."""

    number: int
    received: int = 0
    data: bytearray = field(default_factory=bytearray)


class FragmentAssembler:
    """Puts fragments together; each writer has at most one item under way."""

    def __init__(self, max_bytes: int = _MAX_UNFINISHED) -> None:
        self.incomplete_items = 0
        self.orphaned_fragments = 0
        self._max_bytes = max_bytes
        self._unfinished: dict[int, _Unfinished] = {}  # by writer, the one that waits longest first

    def add(self, writer: int, number: int, index: int, count: int, payload: memoryview) -> bytearray | None:
        """Return the item's bytes if this fragment completes it."""
        item = self._unfinished.pop(writer, None)
        if item is not None and (item.number, item.received) != (number, index):
            self.incomplete_items += 1
            item = None
        if item is None:
            if index != 0:
                self.orphaned_fragments += 1
                return None
            item = _Unfinished(number)
        item.data += payload
        item.received += 1
        if item.received == count:
            return item.data
        self._unfinished[writer] = item
        self._evict()
        return None

    def _evict(self) -> None:
        """Give up the oldest items while they hold too much memory, never the one just added to."""
        total = sum(len(item.data) for item in self._unfinished.values())
        while total > self._max_bytes and len(self._unfinished) > 1:
            writer = next(iter(self._unfinished))
            total -= len(self._unfinished.pop(writer).data)
            self.incomplete_items += 1


class ProcessQueue:
    """Queue with the interface of `multiprocessing.Queue`, without any lock between processes.

    Made in one process and given to others as an argument of their start (fork, spawn or forkserver). Any
    number of processes may put. One process at a time may get; when it died another one takes over and finds
    what was not read. The items of one thread keep their order. Threads of one process may share the queue.

    The queue is bounded: `put` blocks while the kernel's buffer is full, also when no reader lives, so give a
    timeout where that must not hold up the caller. A put that raises `queue.Full` leaves nothing behind that
    the reader would take for an item.

    Args:
        buffer_bytes: size of the kernel's buffer, which counts some overhead for each message; beyond
            net.core.wmem_max only a privileged process gets it, others get that maximum.
    """

    def __init__(self, buffer_bytes: int = 4 << 20) -> None:
        reader, writer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            writer.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, buffer_bytes)
        except PermissionError:
            writer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
        self._attach(reader, writer)

    def __getstate__(self) -> tuple[Any, Any]:
        context.assert_spawning(self)
        return reduction.DupFd(self._reader.fileno()), reduction.DupFd(self._writer.fileno())

    def __setstate__(self, state: tuple[Any, Any]) -> None:
        self._attach(
            *(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, fileno=end.detach()) for end in state)
        )

    def _attach(self, reader: socket.socket, writer: socket.socket) -> None:
        # The sockets stay blocking, since all processes share that flag; calls say MSG_DONTWAIT themselves.
        for end in (reader, writer):
            end.setblocking(True)
        self._reader, self._writer = reader, writer
        self._closer = weakref.finalize(self, _close, reader, writer)
        buffer_bytes = writer.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        self._room = min(_MAX_FRAGMENT, buffer_bytes // 4) - _HEADER.size
        self._fragment = memoryview(bytearray(_HEADER.size + self._room))
        self._make_own()
        _queues.add(self)

    def _make_own(self) -> None:
        """Set up what a process shares with none: locks, the identity of a writer, items half read."""
        self._reading = threading.Lock()
        self._writing = threading.Lock()
        self._identity = int.from_bytes(os.urandom(8), sys.byteorder)
        self._number = 0
        self._assembler = FragmentAssembler()

    @property
    def incomplete_items(self) -> int:
        """Items that this process began to read and whose rest did not come: their writer died or gave up."""
        return self._assembler.incomplete_items

    @property
    def orphaned_fragments(self) -> int:
        """Fragments that this process read of items whose beginning a reader had taken that died."""
        return self._assembler.orphaned_fragments

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Append an item, waiting at most `timeout` seconds for room.

        Raises:
            queue.Full: if there was no room in time.
            ValueError: if the queue is closed.
        """
        self._check_open()
        deadline = _deadline(block, timeout)
        data = pickle.dumps(item, protocol=5)
        if len(data) <= self._room:
            # The kernel keeps whole items apart, so that these never wait for another thread's large one.
            self._send((_WHOLE, data), deadline)
        elif self._writing.acquire(timeout=-1 if deadline is None else _left(deadline)):
            try:
                self._send_fragments(memoryview(data), deadline)
            finally:
                self._writing.release()
        else:
            raise Full

    def _send_fragments(self, data: memoryview, deadline: float | None) -> None:
        self._number += 1
        starts = range(0, len(data), self._room)
        for index, start in enumerate(starts):
            header = _HEADER.pack(self._identity, self._number, index, len(starts))
            self._send((header, data[start : start + self._room]), deadline)

    def _send(self, parts: Sequence[bytes | memoryview], deadline: float | None) -> None:
        while True:
            try:
                self._writer.sendmsg(parts, (), socket.MSG_DONTWAIT)
            except BlockingIOError:
                if not _wait(self._writer, select.POLLOUT, deadline):
                    raise Full from None
            else:
                return

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Return the next item, waiting at most `timeout` seconds for it.

        Raises:
            queue.Empty: if none came in time.
            ValueError: if the queue is closed.
        """
        self._check_open()
        deadline = _deadline(block, timeout)
        while True:
            with self._reading:
                item = self._receive()
            if item is not _NOTHING:
                return item
            if not _wait(self._reader, select.POLLIN, deadline):
                raise Empty

    def _receive(self) -> Any:
        """Read until an item is complete; `_NOTHING` if the kernel's buffer is empty before."""
        while True:
            try:
                nbytes = self._reader.recv_into(self._fragment, 0, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return _NOTHING
            writer, number, index, count = _HEADER.unpack_from(self._fragment)
            payload = self._fragment[_HEADER.size : nbytes]
            data = payload if count == 1 else self._assembler.add(writer, number, index, count, payload)
            if data is not None:
                # only processes that we started hold the other end
                return pickle.loads(data)  # noqa: S301 # nosec B301

    def put_nowait(self, item: Any) -> None:
        """Append an item, or raise `queue.Full` at once; for items well below the size of the buffer."""
        self.put(item, block=False)

    def get_nowait(self) -> Any:
        """Return the next item, or raise `queue.Empty` at once."""
        return self.get(block=False)

    def empty(self) -> bool:
        """Whether there is nothing to read at the moment."""
        return self.pending_bytes() == 0

    def pending_bytes(self) -> int:
        """Bytes that wait to be read, for status displays."""
        self._check_open()
        answer = bytearray(4)
        fcntl.ioctl(self._reader, termios.FIONREAD, answer)
        return int.from_bytes(answer, sys.byteorder)

    def fileno(self) -> int:
        """Descriptor that is readable when there is something to get (`multiprocessing.connection.wait`)."""
        self._check_open()
        return self._reader.fileno()

    def close(self) -> None:
        """Close this process's ends, once none of its threads uses them; unread items stay for the others."""
        self._closer()

    def _check_open(self) -> None:
        if not self._closer.alive:
            raise ValueError("this queue is closed in this process")


#: All queues of this process, which a forked child has to make its own.
_queues: weakref.WeakSet[ProcessQueue] = weakref.WeakSet()


def _after_fork() -> None:
    for queue in _queues:
        queue._make_own()


os.register_at_fork(after_in_child=_after_fork)


def _close(*ends: socket.socket) -> None:
    for end in ends:
        end.close()


def _deadline(block: bool, timeout: float | None) -> float | None:
    """Time on the monotonic clock until which to wait, None for ever."""
    if not block:
        return -math.inf
    return None if timeout is None else time.monotonic() + timeout


def _left(deadline: float | None) -> float:
    return _MAX_WAIT_S if deadline is None else min(max(deadline - time.monotonic(), 0.0), _MAX_WAIT_S)


def _wait(end: socket.socket, event: int, deadline: float | None) -> bool:
    """Wait until the socket may be ready; False if there was no time left to wait."""
    left = _left(deadline)
    if left == 0:
        return False
    poll = select.poll()
    poll.register(end, event)
    poll.poll(math.ceil(left * 1000))
    return True
