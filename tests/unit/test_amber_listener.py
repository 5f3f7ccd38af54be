"""AMBER's files on their way to the two services that work on them."""

import itertools
import queue
import threading
from pathlib import Path

import pytest

from darc.amber_listener import AMBERListener, AMBERListenerException
from darc.errors import DARCError
from darc.growing_file import BLOCK_BYTES
from darc.network.process_queue import ProcessQueue

HEADER = "# beam_id batch_id sample_id integration_step time DM_id DM SNR"
PATIENCE_S = 20


@pytest.fixture
def obs_config(tmp_path):
    (tmp_path / "amber.conf").write_text("opencl_device=[0]\n")
    (tmp_path / "amber").mkdir()
    return {
        "amber_config": str(tmp_path / "amber.conf"),
        "amber_dir": str(tmp_path / "amber"),
        "beam": 3,
        "datetimesource": "2019-05-18-23:51:13.B1933+16",
    }


@pytest.fixture
def listener(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(f"amber_listener: {{log_file: {tmp_path}/log, interval: 0.01}}\n")
    listener = AMBERListener(
        queue.Queue(),
        target_queue=queue.Queue(),
        second_target_queue=queue.Queue(),
        config_file=path,
    )
    yield listener
    listener.cleanup()


def file_of(obs_config, step=1):
    return Path(obs_config["amber_dir"]) / f"CB{obs_config['beam']:02d}_step{step}.trigger"


def append(path, *lines):
    with path.open("a") as file:
        file.writelines(f"{line}\n" for line in lines)


def take(source, number):
    """Take messages until they hold a number of lines; return these."""
    lines = []
    while len(lines) < number:
        message = source.get(timeout=PATIENCE_S)
        assert message["command"] == "trigger"
        lines += message["trigger"]
    return lines


# --- what is delivered -------------------------------------------------------------------------------------


def test_every_line_goes_to_both_consumers_headers_included(listener, obs_config):
    path = file_of(obs_config)
    append(path, HEADER, "1 2 3", "4 5 6")
    listener.start_observation(obs_config, reload=False)
    for target in (listener.target_queue, listener.second_target_queue):
        assert take(target, 3) == [HEADER, "1 2 3", "4 5 6"]
    append(path, "7 8 9")
    for target in (listener.target_queue, listener.second_target_queue):
        assert take(target, 1) == ["7 8 9"]


def test_one_consumer_is_enough(listener, obs_config):
    listener.second_target_queue = None
    append(file_of(obs_config), HEADER)
    listener.start_observation(obs_config, reload=False)
    assert take(listener.target_queue, 1) == [HEADER]


def test_a_message_says_where_its_lines_come_from(listener, obs_config):
    append(path := file_of(obs_config), HEADER)
    listener.start_observation(obs_config, reload=False)
    assert listener.target_queue.get(timeout=PATIENCE_S) == {
        "command": "trigger",
        "trigger": [HEADER],
        "at_end": True,
        "step": 1,
        "observation": "2019-05-18-23:51:13.B1933+16",
        "place": (path.stat().st_ino, 0, 0, len(HEADER) + 1),
    }


def test_only_the_last_message_of_a_long_file_is_at_its_end(listener, obs_config):
    append(file_of(obs_config), *["x" * 99] * (3 * BLOCK_BYTES // 100))
    listener.start_observation(obs_config, reload=False)
    messages = [listener.target_queue.get(timeout=PATIENCE_S)]
    while not messages[-1]["at_end"]:
        messages.append(listener.target_queue.get(timeout=PATIENCE_S))
    assert len(messages) >= 3
    assert sum(len(message["trigger"]) for message in messages) == 3 * BLOCK_BYTES // 100


def test_each_instance_of_amber_is_followed(listener, obs_config):
    Path(obs_config["amber_config"]).write_text("opencl_device=[1, 2, 3]\n")
    for step in (1, 2, 3):
        append(file_of(obs_config, step), f"line of {step}")
    listener.start_observation(obs_config, reload=False)
    messages = [listener.target_queue.get(timeout=PATIENCE_S) for _ in range(3)]
    assert {message["step"]: message["trigger"] for message in messages} == {
        step: [f"line of {step}"] for step in (1, 2, 3)
    }


# a half-written last line must not be read as a trigger
def test_a_line_is_delivered_when_it_is_complete(listener, obs_config):
    path = file_of(obs_config)
    append(path, "1 2 3")
    with path.open("a") as file:
        file.write("4 5")
        file.flush()
        listener.start_observation(obs_config, reload=False)
        assert take(listener.target_queue, 1) == ["1 2 3"]
        file.write(" 6\n")
    assert take(listener.target_queue, 1) == ["4 5 6"]


def test_a_file_and_its_folder_may_appear_late(listener, obs_config):
    obs_config["amber_dir"] += "/later"
    listener.start_observation(obs_config, reload=False)
    Path(obs_config["amber_dir"]).mkdir()
    append(file_of(obs_config), HEADER)
    assert take(listener.target_queue, 1) == [HEADER]


# a file that is replaced or truncated while it is followed
def test_a_file_that_is_written_anew_is_read_from_its_beginning(listener, obs_config, tmp_path):
    path = file_of(obs_config)
    append(path, "a long first line")
    listener.start_observation(obs_config, reload=False)
    assert take(listener.target_queue, 1) == ["a long first line"]
    path.write_text("truncated\n")
    assert take(listener.target_queue, 1) == ["truncated"]
    append(tmp_path / "new", "replaced")
    (tmp_path / "new").rename(path)
    assert take(listener.target_queue, 1) == ["replaced"]


def test_a_file_can_be_followed_by_itself(listener, tmp_path):
    event = threading.Event()
    append(tmp_path / "any_file", "1 2 3")
    thread = threading.Thread(target=listener._follow_file, args=(str(tmp_path / "any_file"), event))
    thread.start()
    assert take(listener.target_queue, 1) == ["1 2 3"]
    event.set()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


# --- consumers that do not take their lines ----------------------------------------------------------------


@pytest.mark.parametrize(
    "names", [("target_queue", "second_target_queue"), ("second_target_queue", "target_queue")]
)
def test_a_consumer_that_takes_nothing_holds_up_nobody_and_gets_everything_later(listener, obs_config, names):
    lines = [f"{number} " + "x" * 90 for number in range(10_000)]
    quick, slow = queue.Queue(), ProcessQueue(buffer_bytes=1 << 17)
    for name, consumer in zip(names, (quick, slow), strict=True):
        setattr(listener, name, consumer)
    append(file_of(obs_config), *lines)
    listener.start_observation(obs_config, reload=False)
    assert take(quick, len(lines)) == lines
    append(file_of(obs_config), "last")
    assert take(quick, 1) == ["last"]
    assert take(slow, len(lines) + 1) == [*lines, "last"]
    slow.close()


def test_what_nobody_takes_until_the_service_ends_is_logged(listener, obs_config, caplog):
    listener.second_target_queue = slow = ProcessQueue(buffer_bytes=1 << 17)
    append(file_of(obs_config), *["x" * 99] * 10_000)
    listener.start_observation(obs_config, reload=False)
    take(listener.target_queue, 10_000)
    listener._stopping = threading.Event()
    listener.stop()
    listener.cleanup()
    assert f"{file_of(obs_config)}: lines not passed on" in caplog.text
    slow.close()


# --- start and stop ----------------------------------------------------------------------------------------


def test_stopping_passes_on_what_is_in_the_file_and_nothing_after(listener, obs_config):
    append(file_of(obs_config), HEADER)
    listener.start_observation(obs_config, reload=False)
    take(listener.target_queue, 1)
    append(file_of(obs_config), "before")
    listener.stop_observation()
    append(file_of(obs_config), "after")
    assert take(listener.target_queue, 1) == ["before"]
    assert listener.target_queue.empty()


def test_the_next_observation_replaces_the_previous_one(listener, obs_config, tmp_path):
    append(file_of(obs_config), HEADER)
    listener.start_observation(obs_config, reload=False)
    take(listener.target_queue, 1)
    (tmp_path / "next").mkdir()
    following = obs_config | {"amber_dir": str(tmp_path / "next"), "datetimesource": "next"}
    listener.start_observation(following, reload=False)
    append(file_of(obs_config), "of the previous one")
    append(file_of(following), "of the next one")
    message = listener.target_queue.get(timeout=PATIENCE_S)
    assert (message["trigger"], message["observation"]) == (["of the next one"], "next")


def test_a_missing_file_is_told_once_and_still_waited_for(listener, obs_config, monkeypatch):
    now, errors = itertools.count(0, 1000), []
    listener.monotonic = lambda: next(now)
    told = threading.Event()
    monkeypatch.setattr(
        listener.logger, "error", lambda text, *values: told.set() or errors.append(text % values)
    )
    listener.start_observation(obs_config, reload=False)
    assert told.wait(PATIENCE_S)
    append(file_of(obs_config), HEADER)
    assert take(listener.target_queue, 1) == [HEADER]
    assert errors == [f"no file {file_of(obs_config)} after 60 s; still waiting for it"]


def test_a_file_that_cannot_be_read_is_told_once_and_read_when_it_can(listener, obs_config, monkeypatch):
    told, errors = threading.Event(), []
    monkeypatch.setattr(
        listener.logger, "error", lambda text, *values: told.set() or errors.append(text % values)
    )
    file_of(obs_config).mkdir()
    listener.start_observation(obs_config, reload=False)
    assert told.wait(PATIENCE_S)
    file_of(obs_config).rmdir()
    append(file_of(obs_config), HEADER)
    assert take(listener.target_queue, 1) == [HEADER]
    assert len(errors) == 1 and f"cannot read {file_of(obs_config)}" in errors[0]


@pytest.mark.parametrize("key", ["amber_config", "amber_dir"])
def test_an_observation_that_does_not_say_where_amber_writes_is_refused(listener, obs_config, key):
    del obs_config[key]
    with pytest.raises(AMBERListenerException, match=key):
        listener.start_observation(obs_config, reload=False)


@pytest.mark.parametrize("beam", ["first", None, [0]])
def test_a_beam_that_is_no_number_is_refused(listener, obs_config, beam):
    with pytest.raises(AMBERListenerException, match="beam of the observation"):
        listener.start_observation(obs_config | {"beam": beam}, reload=False)


@pytest.mark.parametrize("value", [5, None, ["a"]])
def test_a_path_that_is_none_is_refused(listener, obs_config, value):
    for key in ("amber_config", "amber_dir"):
        with pytest.raises(DARCError):
            listener.start_observation(obs_config | {key: value}, reload=False)
