"""The command port with real clients: existing ones, new ones, and bad ones."""

import ast
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from darc.errors import DARCError
from darc.network import authentication, command_client, command_server
from darc.network.authentication import Gate, answer
from darc.network.command_client import CommandError, send_command
from darc.network.command_protocol import CHALLENGE, Reply, Request, encode_request
from darc.network.command_server import CommandPortError, CommandServer
from darc.network.key_file import read_key
from darc.network.sweep import sweep

STATUS = Request(command="status", service="all")
RUNNING = b"{'status': 'Success', 'message': {'processor': 'running'}}"
OLD_STATUS = b"{'service': 'all', 'command': 'status', 'payload': 'None'}"


def echo(request: Request) -> Reply:
    return Reply("Success", {"command": request.command, "payload": request.payload or ""})


@pytest.fixture
def serve() -> Iterator[Callable[..., CommandServer]]:
    with ExitStack() as servers:

        def start(handler: Callable[[Request], Reply] = echo, **options: Any) -> CommandServer:
            options.setdefault("timeout_s", 20)
            return servers.enter_context(CommandServer(("127.0.0.1", 0), handler, **options))

        yield start


@pytest.fixture
def connect() -> Iterator[Callable[[CommandServer], socket.socket]]:
    with ExitStack() as connections:
        yield lambda server: connections.enter_context(socket.create_connection(server.address, 20))


@pytest.fixture
def peer() -> Iterator[Callable[[bytes | None], tuple[str, int]]]:
    """Something on a port that, to each client, sends some bytes and closes; or nothing, ever, for None."""
    with ExitStack() as stack:

        def start(answer: bytes | None) -> tuple[str, int]:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

            def serve_one() -> None:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer or b"")

            if answer is not None:
                thread = threading.Thread(target=serve_one)
                thread.start()
                stack.callback(thread.join)
            return listener.getsockname()

        yield start


def read_all(connection: socket.socket) -> bytes:
    content = b""
    while segment := connection.recv(65536):
        content += segment
    return content


def ask(server: CommandServer, request: Request = STATUS) -> Reply:
    return send_command(*server.address, request, timeout_s=20)


def threads_of_servers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("command-port")]


# --- existing and new clients


def test_an_existing_client_reads_a_literal_up_to_the_end_of_the_connection(serve, connect) -> None:
    client = connect(serve())
    client.sendall(OLD_STATUS)
    assert ast.literal_eval(read_all(client).decode()) == {
        "status": "Success",
        "message": {"command": "status", "payload": ""},
    }


# a command or a reply read with a single recv is cut
def test_a_request_in_several_segments_is_one_request(serve, connect) -> None:
    client = connect(serve())
    for part in (OLD_STATUS[:20], OLD_STATUS[20:40], OLD_STATUS[40:]):
        client.sendall(part)
        time.sleep(0.03)
    assert ast.literal_eval(read_all(client).decode())["status"] == "Success"


# a command or a reply read with a single recv is cut
def test_long_requests_and_replies_arrive_whole(serve) -> None:
    server = serve(lambda request: Reply("Success", request.payload * 500))
    path = "/data/" + "x" * 8000
    assert ask(server, Request(command="start_observation", payload=path)).message == path * 500


def test_a_new_client_sends_several_requests_on_one_connection(serve, connect) -> None:
    client = connect(serve())
    client.sendall(encode_request(STATUS, newline=True) + b"\n" + b'{"command": }\n')
    with client.makefile("rb") as replies:
        assert ast.literal_eval(replies.readline().decode())["status"] == "Success"
        assert ast.literal_eval(replies.readline().decode())["status"] == "Error"
        client.sendall(encode_request(Request(command="last"), newline=False))
        assert ast.literal_eval(replies.read().decode())["message"]["command"] == "last"


def test_a_newline_may_follow_its_request_in_a_segment_of_its_own(serve, connect, monkeypatch) -> None:
    monkeypatch.setattr(command_server, "_NEWLINE_GRACE_S", 10)
    client = connect(serve())
    with client.makefile("rb") as replies:
        for _ in range(2):
            client.sendall(encode_request(STATUS, newline=False))
            time.sleep(0.03)
            client.sendall(b"\n")
            assert b"Success" in replies.readline()


def test_a_client_may_end_its_side_before_it_reads(serve, connect) -> None:
    client = connect(serve())
    client.sendall(encode_request(STATUS, newline=True))
    client.shutdown(socket.SHUT_WR)
    assert b"Success" in read_all(client)


def test_clients_are_served_at_the_same_time(serve) -> None:
    together = threading.Barrier(5)
    server = serve(lambda request: Reply("Success", str(together.wait(20))))
    replies: list[Reply] = []
    clients = [threading.Thread(target=lambda: replies.append(ask(server))) for _ in range(5)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert sorted(str(reply.message) for reply in replies) == list("01234")


# --- clients that misbehave

BAD_CLIENTS = {
    "nothing": b"",
    "half a message": OLD_STATUS[:20],
    "garbage": b"\x16\x03\x01\x00\xff{",
    "a megabyte": b"{" * (1 << 20),
    "a request and never reads": OLD_STATUS,
}


@pytest.mark.parametrize("sent", BAD_CLIENTS.values(), ids=BAD_CLIENTS)
def test_a_bad_client_disturbs_nobody(serve, connect, sent: bytes) -> None:
    server = serve(lambda request: Reply("Success", "x" * (1 << 24) if request == STATUS else "fine"))
    bad = connect(server)
    sender = threading.Thread(target=lambda: try_to_send(bad, sent))
    sender.start()
    assert ask(server, Request(command="reload")).message == "fine"
    server.close()
    sender.join()
    assert not threads_of_servers()


def try_to_send(client: socket.socket, sent: bytes) -> None:
    with suppress(ConnectionError):
        client.sendall(sent)


def test_a_megabyte_is_refused_with_the_limit(serve, connect) -> None:
    client = connect(serve(max_request_bytes=1000))
    client.sendall(b"{" * (1 << 20))
    assert "limit of 1000 bytes" in ast.literal_eval(read_all(client).decode())["message"]


def test_half_a_message_is_refused_when_its_time_is_over(serve, connect) -> None:
    client = connect(serve(timeout_s=0.1))
    client.sendall(OLD_STATUS[:-1])
    assert "not complete after 0.1 s" in ast.literal_eval(read_all(client).decode())["message"]


def test_sending_a_byte_now_and_then_gives_no_more_time(serve, connect) -> None:
    client = connect(serve(timeout_s=0.2))
    client.settimeout(0.02)
    reply = b""
    while not reply:
        try_to_send(client, b"{")
        try:
            reply = client.recv(1000)
        except TimeoutError:
            continue
    assert b"not complete after 0.2 s" in reply


def test_a_silent_client_is_closed_when_its_time_is_over(serve, connect) -> None:
    assert read_all(connect(serve(timeout_s=0.1))) == b""


def test_a_client_that_never_reads_is_given_up(serve, connect, caplog) -> None:
    caplog.set_level(logging.INFO)
    server = serve(lambda request: Reply("Success", "x" * (1 << 24)), timeout_s=0.1)
    connect(server).sendall(OLD_STATUS)
    while "lost 127.0.0.1" not in caplog.text:
        time.sleep(0.01)


def test_the_oldest_idle_connection_makes_room_for_a_new_one(serve, connect) -> None:
    asked, answer = threading.Event(), threading.Event()

    def handler(request: Request) -> Reply:
        if request.command == "wait":
            asked.set()
            answer.wait(20)
        return Reply("Success", request.command)

    server = serve(handler, max_connections=3)
    busy, oldest_idle, idle = (connect(server) for _ in range(3))
    busy.sendall(encode_request(Request(command="wait"), newline=True))
    assert asked.wait(20)
    assert ask(server).message == "status"
    assert read_all(oldest_idle) == b""
    idle.sendall(OLD_STATUS)
    assert b"status" in read_all(idle)
    answer.set()
    assert b"wait" in busy.recv(1000)


def test_a_new_connection_is_refused_when_all_are_being_served(serve, connect) -> None:
    asked, answer = threading.Event(), threading.Event()

    def handler(request: Request) -> Reply:
        asked.set()
        answer.wait(20)
        return Reply("Success", "done")

    server = serve(handler, max_connections=1)
    busy = connect(server)
    busy.sendall(OLD_STATUS)
    assert asked.wait(20)
    assert "busy" in ast.literal_eval(read_all(connect(server)).decode())["message"]
    answer.set()
    assert b"done" in read_all(busy)


# --- the handler


def test_a_refusal_is_the_reply_and_the_connection_stays(serve, connect) -> None:
    def handler(request: Request) -> Reply:
        raise DARCError("no parset /data/a.parset")

    client = connect(serve(handler))
    with client.makefile("rb") as replies:
        for _ in range(2):
            client.sendall(encode_request(STATUS, newline=True))
            assert ast.literal_eval(replies.readline().decode()) == {
                "status": "Error",
                "message": "no parset /data/a.parset",
            }


def test_a_defect_is_logged_and_ends_its_connection_only(serve, connect, caplog) -> None:
    def handler(request: Request) -> Reply:
        return Reply("Success", {"status": 1}[request.command])

    server = serve(handler)
    client = connect(server)
    client.sendall(b'{"command": "reload"}\n')
    assert ast.literal_eval(read_all(client).decode())["message"] == "internal error, see log"
    assert "KeyError: 'reload'" in caplog.text
    assert ask(server).message == 1


def test_what_follows_a_reply_is_done_once_it_is_out_and_may_close_the_server(serve) -> None:
    stopped = threading.Event()

    def stop() -> None:
        server.close()
        stopped.set()

    server = serve(lambda request: Reply("Success", "stopping", after=stop))
    assert ask(server, Request(command="stop_master")).message == "stopping"
    assert stopped.wait(20)
    with socket.create_server(server.address):
        pass


def test_what_follows_a_reply_is_done_even_if_the_client_is_gone(serve, connect) -> None:
    asked, gone, stopped = (threading.Event() for _ in range(3))

    def handler(request: Request) -> Reply:
        asked.set()
        gone.wait(20)
        return Reply("Success", "x" * (1 << 24), after=stopped.set)

    with connect(serve(handler)) as client:
        client.sendall(OLD_STATUS)
        assert asked.wait(20)
    gone.set()
    assert stopped.wait(20)


# --- start and end


def test_closing_frees_the_port_and_ends_connections_and_threads(serve, connect) -> None:
    server = serve()
    idle, kept = connect(server), connect(server)
    kept.sendall(encode_request(STATUS, newline=True))
    assert kept.recv(1000)
    server.close()
    assert read_all(idle) == b""
    assert read_all(kept) == b""
    assert not threads_of_servers()
    with socket.create_server(server.address):
        pass


def test_a_request_that_is_being_processed_is_answered_before_the_end(serve, connect) -> None:
    asked, answer = threading.Event(), threading.Event()

    def handler(request: Request) -> Reply:
        asked.set()
        answer.wait(20)
        return Reply("Success", "done")

    server = serve(handler)
    client = connect(server)
    client.sendall(encode_request(STATUS, newline=True))
    assert asked.wait(20)
    closer = threading.Thread(target=server.close)
    closer.start()
    time.sleep(0.05)
    answer.set()
    closer.join()
    assert b"done" in read_all(client)


def test_a_port_that_is_taken_is_named(serve) -> None:
    taken = serve().address
    with pytest.raises(CommandPortError, match=f"127.0.0.1:{taken[1]}.*in use.*configure another"):
        CommandServer(taken, echo, timeout_s=1).start()


def test_an_address_that_is_not_of_this_host_is_named() -> None:
    with pytest.raises(CommandPortError, match=r"no\.host\.invalid:51000.*configure another"):
        CommandServer(("no.host.invalid", 51000), echo, timeout_s=1).start()


def test_ipv6_is_served() -> None:
    with CommandServer(("::1", 0), echo, timeout_s=20) as server:
        assert ask(server).status == "Success"


# --- the client


def test_the_client_says_that_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(CommandError, match=f"127.0.0.1:{port} did not answer 'status': nobody listens"):
        send_command("127.0.0.1", port, STATUS, timeout_s=20)


@pytest.mark.parametrize("host", ["no.host.invalid", "a..b", "a" * 100])
def test_the_client_says_that_a_host_does_not_exist(host: str) -> None:
    with pytest.raises(CommandError, match=f"{host}:51000.*(unknown host|label)"):
        send_command(host, 51000, STATUS, timeout_s=20)


def test_the_client_says_that_no_answer_came_in_time(peer) -> None:
    with pytest.raises(CommandError, match="no answer in time"):
        send_command(*peer(None), STATUS, timeout_s=0.1)


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (b"", "closed the connection"),
        (b"{'status': 'Succ", "neither JSON nor"),
        (b"SSH-2.0\r\n", "check the port"),
    ],
)
def test_the_client_says_that_an_answer_is_none_of_darc(peer, answer: bytes, complaint: str) -> None:
    with pytest.raises(CommandError, match=complaint):
        send_command(*peer(answer), STATUS, timeout_s=20)


def test_the_client_understands_an_existing_master(peer) -> None:
    assert send_command(*peer(RUNNING), STATUS, timeout_s=20) == Reply("Success", {"processor": "running"})


def test_the_client_takes_no_endless_reply(peer, monkeypatch) -> None:
    monkeypatch.setattr(command_client, "MAX_REPLY_BYTES", 100_000)
    with pytest.raises(CommandError, match="longer than 100000 bytes"):
        send_command(*peer(b"{" * (1 << 20)), STATUS, timeout_s=20)


# --- clients on other hosts, which all clients are in these tests


@pytest.fixture
def away(monkeypatch) -> None:
    monkeypatch.setattr(authentication, "is_loopback", lambda host: False)
    monkeypatch.setattr(command_client, "is_loopback", lambda host: False)


@pytest.fixture
def key_file(tmp_path) -> Path:
    read_key(tmp_path / "a.key", "tests", make=True)
    return tmp_path / "a.key"


def conversation(client: socket.socket, *requests: Request) -> list[dict[str, Any]]:
    """Send requests one after another, and return the replies."""
    with client.makefile("rb") as replies:
        found = []
        for request in requests:
            try_to_send(client, encode_request(request, newline=True))
            found.append(replies.readline())
    return [ast.literal_eval(reply.decode()) for reply in found if reply]


@pytest.mark.usefixtures("away")
def test_a_client_with_the_key_is_served_by_itself(serve, key_file) -> None:
    server = serve(gate=Gate(key_file=key_file))
    request = Request(command="get_attr nodé", service="all")
    assert send_command(*server.address, request, 20, key_file).message == {
        "command": "get_attr nodé",
        "payload": "",
    }


@pytest.mark.usefixtures("away")
def test_without_the_key_a_client_learns_what_to_do(serve, connect, key_file, tmp_path) -> None:
    server = serve(gate=Gate(key_file=key_file))
    refusal = send_command(*server.address, STATUS, 20, tmp_path / "none.key")
    assert refusal == send_command(*server.address, STATUS, 20)
    assert refusal.status == "Error" and isinstance(refusal.message, dict)
    assert "unauthenticated_clients" in refusal.message["error"]
    client = connect(server)
    client.sendall(OLD_STATUS)
    assert ast.literal_eval(read_all(client).decode())["message"] == refusal.message


@pytest.mark.usefixtures("away")
def test_existing_clients_that_the_site_names_are_served_what_they_need(serve, connect, key_file) -> None:
    server = serve(gate=Gate(key_file=key_file, unauthenticated={"127.0.0.0/8": ["status"]}))
    client = connect(server)
    client.sendall(OLD_STATUS)
    assert b"Success" in read_all(client)
    client = connect(server)
    client.sendall(b"{'command': 'stop_master'}")
    assert b"may only ask for status" in read_all(client)


@pytest.mark.usefixtures("away")
def test_what_was_overheard_is_refused_also_after_a_restart(serve, connect, key_file) -> None:
    server = serve(gate=Gate(key_file=key_file))
    client = connect(server)
    (challenge,) = conversation(client, CHALLENGE)
    request = answer(STATUS, challenge["message"], key_file, time.time())
    assert [reply["status"] for reply in conversation(client, request, request, STATUS)] == [
        "Success",
        "Error",
    ]
    assert "sent before" in conversation(connect(server), request)[0]["message"]["error"]
    server.close()
    again = serve(gate=Gate(key_file=key_file))
    for asks_first in ([], [CHALLENGE]):
        assert "sent before" in conversation(connect(again), *asks_first, request)[-1]["message"]["error"]


@pytest.mark.usefixtures("away")
def test_a_challenge_counts_for_the_next_request_only(serve, connect, key_file) -> None:
    client = connect(serve(gate=Gate(key_file=key_file, unauthenticated={"127.0.0.1": ["status"]})))
    (challenge,) = conversation(client, CHALLENGE)
    request = answer(Request(command="reload"), challenge["message"], key_file, time.time())
    assert [reply["status"] for reply in conversation(client, STATUS, request)] == ["Success", "Error"]


@pytest.mark.usefixtures("away")
def test_a_refusal_ends_the_connection(serve, connect) -> None:
    client = connect(serve())
    assert [reply["status"] for reply in conversation(client, STATUS, CHALLENGE, STATUS)] == ["Error"]


@pytest.mark.usefixtures("away")
def test_a_key_that_others_can_read_is_not_used(serve, key_file) -> None:
    server = serve(gate=Gate(key_file=key_file))
    key_file.chmod(0o640)
    with pytest.raises(CommandError, match=r"was not sent to 127\.0\.0\.1:\d+: .*a\.key.*chmod 600"):
        send_command(*server.address, STATUS, 20, key_file)


@pytest.mark.usefixtures("away")
def test_clocks_that_differ_are_told_to_the_client(serve, key_file) -> None:
    server = serve(gate=Gate(key_file=key_file, clock=lambda: time.time() + 90))
    reply = send_command(*server.address, STATUS, 20, key_file)
    assert "behind that of this node" in str(reply.message) and "NTP" in str(reply.message)


@pytest.mark.usefixtures("away")
def test_a_node_of_an_older_version_is_asked_without_a_proof(peer_of_old_version, key_file) -> None:
    assert send_command(*peer_of_old_version, STATUS, 20, key_file).message == {"processor": "running"}


@pytest.fixture
def peer_of_old_version() -> Iterator[tuple[str, int]]:
    """An existing master, which answers one request per connection."""

    def handle() -> None:
        for reply in (b"{'status': 'Error', 'message': {'error': 'Invalid command: challenge'}}", RUNNING):
            connection, _ = listener.accept()
            with connection:
                connection.recv(1024)
                connection.sendall(reply)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=handle)
        thread.start()
        yield listener.getsockname()
        thread.join()


def test_all_nodes_are_asked_with_the_key(serve, key_file, away) -> None:
    server = serve(gate=Gate(key_file=key_file))
    nodes = {"a": server.address, "b": server.address}
    replies = sweep(nodes, Request(command="details"), 20, STATUS, key_file)
    assert [reply.status for reply in replies.values() if isinstance(reply, Reply)] == ["Success", "Success"]


def test_files_that_may_not_be_named_are_refused(serve, tmp_path) -> None:
    server = serve(gate=Gate(payload_dirs=[tmp_path]))
    request = Request(command="start_observation", payload=f"{tmp_path}/a.parset")
    assert ask(server, request).status == "Success"
    assert "payload_dirs" in str(
        ask(server, Request(command="start_observation", payload="/etc/a.yaml")).message
    )


def test_the_client_is_light() -> None:
    code = "import sys, darc.network.command_client as c; print(*{m.partition('.')[0] for m in sys.modules})"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    loaded = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    ).stdout
    assert not {"numpy", "astropy", "pydantic", "lxml", "yaml", "logging"} & set(loaded.split())
