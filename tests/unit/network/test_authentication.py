"""Who may ask a node for something: proofs, those who need none, and the files that may be named."""

import logging
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.errors import DARCError
from darc.network.authentication import MAX_CLOCK_DIFFERENCE_S, Gate, RefusedError, answer, gate_of
from darc.network.command_protocol import Proof, Request, encode_request, parse_request

KEY = b"0123456789abcdef0123456789abcdef"
NONCE = "00112233445566778899aabbccddeeff"
NOW = 1763812800.0
FAR = "10.87.0.5"
STOP = Request(command="stop_master")
START = Request(command="start_observation", payload="/data/parsets/a.parset")


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return new_key(tmp_path / "a.key", KEY)


def new_key(path: Path, key: bytes) -> Path:
    path.write_bytes(key)
    path.chmod(0o600)
    return path


@pytest.fixture
def gate(key_file: Path) -> Gate:
    return Gate(key_file=key_file, clock=lambda: NOW)


def proven(request: Request, key_file: Path, nonce: str = NONCE, now: float = NOW) -> Request:
    """Return what a client that holds a key sends, as the node reads it."""
    return parse_request(encode_request(answer(request, {"nonce": nonce}, key_file, now), newline=True))


# --- proofs


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1"])
def test_clients_of_this_host_need_no_proof(gate, host) -> None:
    gate.admit(STOP, host, "")


@pytest.mark.parametrize("command", ["check_config", "apply_config"])
@pytest.mark.parametrize("host", ["127.0.0.1", "10.0.0.1"])
def test_what_decides_which_programs_run_is_always_proven(key_file, host, command) -> None:
    gate = Gate(key_file=key_file, unauthenticated={"0.0.0.0/0": ["all"]}, clock=lambda: NOW, payload_dirs=[])
    request = Request(command=command, payload="mail: {}")
    with pytest.raises(RefusedError, match="on this host too"):
        gate.admit(request, host, NONCE)
    gate.admit(proven(request, key_file), host, NONCE)
    other_key = new_key(key_file.with_name("other.key"), KEY[::-1])
    for wrong in (proven(request, other_key), proven(STOP, key_file)):
        with pytest.raises(RefusedError, match="proof of the request is wrong"):
            gate.admit(replace(request, proof=wrong.proof), host, NONCE)


@pytest.mark.parametrize("host", [FAR, "192.168.0.1", "0.0.0.0", "fe80::1%eth0", "2001:db8::1", "::2"])
def test_a_request_of_another_host_without_a_proof_is_refused_and_told_what_to_do(
    gate, key_file, host
) -> None:
    with pytest.raises(RefusedError, match=rf"{host}.*copy of {key_file}.*unauthenticated_clients"):
        gate.admit(STOP, host, NONCE)


def test_a_proof_lets_any_request_of_another_host_in(gate, key_file) -> None:
    gate.admit(proven(STOP, key_file), FAR, NONCE)


texts = st.none() | st.text(min_size=1).filter(lambda text: text != "None")
requests = st.builds(
    Request, command=st.text(min_size=1).filter(lambda text: text != "None"), service=texts, payload=texts
)


@given(request=requests, other=requests)
def test_a_proof_is_of_one_request_only(tmp_path_factory, request, other) -> None:
    key_file = new_key(tmp_path_factory.getbasetemp() / "a.key", KEY)
    gate = Gate(key_file=key_file, payload_dirs=[Path("/")], clock=lambda: NOW)
    signed = answer(request, {"nonce": NONCE}, key_file, NOW)
    if "\0" not in (request.payload or ""):
        gate.admit(signed, FAR, NONCE)
    if other != request:
        with pytest.raises(RefusedError, match="proof of the request is wrong"):
            gate.admit(replace(other, proof=signed.proof), FAR, NONCE)


@pytest.mark.parametrize(
    "change",
    [{"time_s": int(NOW) + 1}, {"nonce": "0" * 32}, {"code": "0" * 64}, {"code": "é"}, {"code": "x" * 9999}],
)
def test_a_proof_that_was_changed_is_wrong(gate, key_file, change) -> None:
    proof = proven(STOP, key_file).proof
    assert proof is not None
    with pytest.raises(RefusedError, match="is wrong"):
        gate.admit(replace(STOP, proof=replace(proof, **change)), FAR, change.get("nonce", NONCE))


def test_a_proof_with_another_key_is_wrong_and_told_what_to_do(gate, tmp_path) -> None:
    other = new_key(tmp_path / "other.key", KEY[::-1])
    with pytest.raises(RefusedError, match=r"another key than .*a\.key.*copy that file from the master"):
        gate.admit(proven(STOP, other), FAR, NONCE)


@pytest.mark.parametrize("asked", ["", "f" * 32])
def test_a_proof_for_another_challenge_is_refused(gate, key_file, asked) -> None:
    with pytest.raises(RefusedError, match="sent before"):
        gate.admit(proven(STOP, key_file), FAR, asked)


# whoever poses as a node may have a client answer an empty challenge, and pass the answer on
def test_a_proof_for_an_empty_challenge_is_of_no_use_where_none_was_asked_for(gate, key_file) -> None:
    with pytest.raises(RefusedError, match="sent before"):
        gate.admit(answer(STOP, {"nonce": ""}, key_file, NOW), FAR, "")


@pytest.mark.parametrize(("difference_s", "where"), [(61, "61 s ahead of"), (-300, "300 s behind")])
def test_clocks_that_differ_are_told(gate, key_file, difference_s, where) -> None:
    with pytest.raises(RefusedError, match=f"{where} that of this node, more than 60 s: set both by NTP"):
        gate.admit(proven(STOP, key_file, now=NOW + difference_s), FAR, NONCE)
    fine = difference_s / abs(difference_s) * (MAX_CLOCK_DIFFERENCE_S - 1)
    gate.admit(proven(STOP, key_file, now=NOW + fine), FAR, NONCE)


def test_a_key_that_others_can_read_is_refused_by_client_and_node(gate, key_file) -> None:
    request = proven(STOP, key_file)
    key_file.chmod(0o644)
    with pytest.raises(DARCError, match=r"a\.key.*mode 0644"):
        answer(STOP, {"nonce": NONCE}, key_file, NOW)
    with pytest.raises(RefusedError, match=r"a\.key.*mode 0644"):
        gate.admit(request, FAR, NONCE)


@pytest.mark.parametrize("key", [b"", b"pass", b"fifteen letters"])
def test_a_short_key_is_none(gate, key_file, key) -> None:
    request = proven(STOP, key_file)
    new_key(key_file, key)
    with pytest.raises(RefusedError, match=r"a\.key.*(empty|bytes: at least 16)"):
        gate.admit(request, FAR, NONCE)


def test_a_key_that_comes_after_the_start_is_used(gate, key_file) -> None:
    request = proven(STOP, key_file)
    key_file.unlink()
    with pytest.raises(RefusedError, match="copy the file from the master node"):
        gate.admit(request, FAR, NONCE)
    new_key(key_file, KEY)
    gate.admit(request, FAR, NONCE)


def test_without_a_key_no_proof_is_accepted(key_file) -> None:
    with pytest.raises(RefusedError, match=r"set darc_master\.key_file"):
        Gate().admit(proven(STOP, key_file), FAR, NONCE)


@pytest.mark.parametrize("challenge", ["text", {}, {"nonce": 5}, None, [NONCE]])
def test_what_is_no_challenge_is_not_answered(key_file, challenge) -> None:
    with pytest.raises(DARCError, match="no challenge"):
        answer(STOP, challenge, key_file, NOW)


@pytest.mark.parametrize(
    "fields",
    ['"nonce": "a"', '"nonce": "a", "time": "1"', '"hmac": "a", "time": "1"',
     '"nonce": "a", "time": "-1", "hmac": "b"',
     '"nonce": "a", "time": "1e9", "hmac": "b"', '"nonce": "a", "time": 5, "hmac": "b"'],
)  # fmt: skip
def test_half_a_proof_is_no_request(fields) -> None:
    with pytest.raises(DARCError, match=r"proof|is text"):
        parse_request(f'{{"command": "status", {fields}}}')


def test_a_proof_does_not_get_into_the_log() -> None:
    assert "secret" not in repr(replace(STOP, proof=Proof("secret", 1, "secret")))


# --- those who need none

MAY = {"10.87.0.1/24": ["start_observation", "status"], "10.87.0.5": ["log"], "2001:db8::/32": ["all"]}


@pytest.mark.parametrize(
    ("host", "command"),
    [(FAR, "status"), (FAR, "log"), ("10.87.0.255", "start_observation"), ("2001:db8::7", "stop_master"),
     ("2001:db8::7", "get_attr node")],
)  # fmt: skip
def test_named_networks_may_ask_what_is_listed(host, command) -> None:
    Gate(unauthenticated=MAY).admit(Request(command=command), host, "")


@pytest.mark.parametrize(
    ("host", "command", "reason"),
    [(FAR, "stop_master", "may only ask for log, start_observation, status"),
     ("10.87.1.5", "status", "has to be named"),
     ("10.87.0.6", "log", "may only ask for start_observation, status"), (FAR, "status_all", "may only"),
     (FAR, "all", "may only")],
)  # fmt: skip
def test_anything_else_is_refused_with_what_is_allowed(host, command, reason) -> None:
    with pytest.raises(RefusedError, match=reason):
        Gate(unauthenticated=MAY).admit(Request(command=command), host, "")


def test_a_client_may_be_named_by_its_name(monkeypatch) -> None:
    def look_up(name: str, *_: Any, **__: Any) -> list[Any]:
        if name == "away":
            raise OSError
        return [(2, 1, 6, "", (FAR, 0))]

    monkeypatch.setattr("darc.network.authentication.socket.getaddrinfo", look_up)
    gate = Gate(unauthenticated={"away": ["status"], "scheduler": ["status"]})
    gate.admit(Request(command="status"), FAR, "")
    with pytest.raises(RefusedError, match="has to be named"):
        gate.admit(Request(command="status"), "10.87.0.6", "")


def test_a_wrong_proof_is_refused_even_where_none_is_needed(gate, tmp_path) -> None:
    request = proven(Request(command="status"), new_key(tmp_path / "other.key", KEY[::-1]))
    with pytest.raises(RefusedError, match="is wrong"):
        replace(gate, unauthenticated=MAY).admit(request, FAR, NONCE)


# --- the files that requests name


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "allowed").mkdir()
    (tmp_path / "private").mkdir()
    (tmp_path / "allowed" / "link").symlink_to(tmp_path / "private")
    (tmp_path / "way").symlink_to(tmp_path / "allowed")
    return tmp_path


@pytest.mark.parametrize(
    "path", ["allowed/a.parset", "allowed/b/../a.parset", "way/a.parset", "allowed/new/a.yaml"]
)
@pytest.mark.parametrize("configured", ["allowed", "way"])
def test_files_below_configured_folders_may_be_named(folder, path, configured) -> None:
    Gate(payload_dirs=[folder / configured]).admit(
        replace(START, payload=str(folder / path)), "127.0.0.1", ""
    )


@pytest.mark.parametrize(
    "path",
    ["private/a.parset", "allowed/../private/a.parset", "allowed/link/a.parset", "allowed-too/a.parset",
     "\0", "x" * 9999, "way/link/../private/a.parset"],
)  # fmt: skip
def test_others_are_refused_with_the_folders_also_to_clients_of_this_host(folder, path) -> None:
    with pytest.raises(RefusedError, match=r"is not below .*allowed.*payload_dirs|is no path"):
        Gate(payload_dirs=[folder / "allowed"]).admit(
            replace(START, payload=f"{folder}/{path}"), "127.0.0.1", ""
        )


def test_a_refusal_says_where_a_link_leads(folder) -> None:
    for path, leads in (("allowed/link/a", True), ("private/a", False)):
        with pytest.raises(RefusedError) as refusal:
            Gate(payload_dirs=[folder / "allowed"]).admit(
                replace(START, payload=f"{folder}/{path}"), "127.0.0.1", ""
            )
        assert ("which leads to" in str(refusal.value)) is leads


def test_without_configured_folders_only_clients_of_this_host_may_name_files(gate, key_file) -> None:
    gate.admit(START, "127.0.0.1", "")
    with pytest.raises(RefusedError, match="payload_dirs does not say"):
        gate.admit(proven(START, key_file), FAR, NONCE)


# --- what the node says about it


def test_refusals_are_logged_but_do_not_fill_the_disk(key_file, caplog) -> None:
    now = NOW
    gate = Gate(key_file=key_file, clock=lambda: now)
    for _ in range(100):
        for host in (FAR, "10.0.0.1"):
            with pytest.raises(RefusedError):
                gate.admit(STOP, host, "")
    assert len(caplog.records) == 2
    now += 61
    with pytest.raises(RefusedError):
        gate.admit(STOP, FAR, "")
    assert len(caplog.records) == 3
    for number in range(3000):
        with pytest.raises(RefusedError):
            gate.admit(STOP, f"10.1.{number // 256}.{number % 256}", "")
    assert len(gate._logged) <= 1000


def config(key_file: Path, role: str | None = "master", **settings: Any) -> Any:
    defaults = {
        "key_file": key_file,
        "address": "0.0.0.0",
        "unauthenticated_clients": {},
        "payload_dirs": None,
    }
    return SimpleNamespace(
        role=role, nodes=SimpleNamespace(master="there"), darc_master=SimpleNamespace(**defaults | settings)
    )


@pytest.mark.parametrize("address", ["0.0.0.0", "127.0.0.1"])
def test_the_master_node_makes_the_key(tmp_path, address) -> None:
    path = tmp_path / "keys" / "command_port.key"
    gate = gate_of(config(path, address=address), logging.getLogger())
    assert path.stat().st_mode & 0o777 == 0o600
    gate.admit(proven(STOP, path, now=gate.clock()), FAR, NONCE)


@pytest.mark.parametrize(("role", "made"), [("worker", True), (None, False)])
def test_where_there_is_no_master_node_a_worker_makes_the_key(tmp_path, role, made) -> None:
    alone = config(tmp_path / "a.key", role=role)
    alone.nodes.master = None
    gate_of(alone, logging.getLogger())
    assert (tmp_path / "a.key").exists() is made


def test_a_worker_without_the_key_starts_and_says_what_to_do(tmp_path, caplog) -> None:
    path = tmp_path / "command_port.key"
    gate = gate_of(config(path, role="worker"), logging.getLogger())
    assert "copy the file from the master node" in caplog.text and not path.exists()
    gate.admit(STOP, "127.0.0.1", "")


def test_a_worker_that_only_its_own_clients_reach_needs_no_key(tmp_path, caplog) -> None:
    gate_of(config(tmp_path / "a.key", role="worker", address="127.0.0.1"), logging.getLogger())
    assert not caplog.records and not (tmp_path / "a.key").exists()


def test_who_needs_no_proof_is_in_the_log(tmp_path, caplog) -> None:
    gate_of(config(tmp_path / "a.key", unauthenticated_clients=MAY), logging.getLogger())
    assert "10.87.0.1/24 may ask for start_observation, status without a proof" in caplog.text
