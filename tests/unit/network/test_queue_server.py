"""The rules of the queue servers that need no connection."""

import inspect
import queue

import pytest

from darc.errors import DARCError
from darc.network.queue_server import QueueServer, check_authkey, check_item


# Pickled queues behind the password `pass` on all interfaces
@pytest.mark.parametrize("host", ["", "0.0.0.0", "10.0.0.1", "arts041.example.org", "::"])
@pytest.mark.parametrize("authkey", ["", "pass", "1234567", b"pass"])
def test_a_weak_key_is_refused_where_other_hosts_can_connect(authkey, host):
    with pytest.raises(DARCError, match="server_auth"):
        check_authkey(authkey, (host, 5200))


@pytest.mark.parametrize(
    ("authkey", "host"),
    [("pass", "127.0.0.1"), ("", "localhost"), ("pass", "::1"), ("12345678", ""), (b"12345678", "10.0.0.1")],
)
def test_other_keys_are_returned_as_bytes(authkey, host):
    key = check_authkey(authkey, (host, 5200))
    assert key == (authkey if isinstance(authkey, bytes) else authkey.encode())


def test_a_server_with_a_weak_key_does_not_come_up():
    class Server(QueueServer):
        pass

    Server.register("get_queue", callable=queue.Queue)
    with pytest.raises(DARCError, match="server_auth"):
        Server(address=("0.0.0.0", 0), authkey=b"pass").get_server()


def test_items_are_dictionaries():
    assert check_item({"dm": 56.8}) == {"dm": 56.8}
    for item in ("stop", 5, [{}]):
        with pytest.raises(DARCError, match="dictionary"):
            check_item(item)


def test_the_documented_constructor():
    assert list(inspect.signature(QueueServer).parameters) == ["address", "authkey", "serializer", "ctx"]
    assert QueueServer().get_queue is not None


def test_it_never_serves_from_a_process_of_its_own():
    with pytest.raises(DARCError, match="serve_queue"):
        QueueServer(("127.0.0.1", 0), b"secret key").start()


def test_a_server_without_a_queue_is_refused():
    with pytest.raises(DARCError, match="get_queue"):
        QueueServer(("127.0.0.1", 0), b"secret key").get_server()
