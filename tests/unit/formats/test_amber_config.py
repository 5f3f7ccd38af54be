"""How many instances of AMBER its settings ask for."""

import pytest

from darc.errors import DARCError
from darc.formats.amber_config import count_instances


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("opencl_device=[1, 2, 3]\n", 3),
        ("# AMBER\nopencl_platform=[0]\nopencl_device = [0]  # one GPU\n", 1),
        ('opencl_device=["a","b"]\n', 2),
    ],
)
def test_the_length_of_the_list_of_devices_is_the_number_of_instances(tmp_path, text, number):
    (tmp_path / "amber.conf").write_text(text)
    assert count_instances(tmp_path / "amber.conf") == count_instances(str(tmp_path / "amber.conf")) == number


# an integer where a list is expected
@pytest.mark.parametrize("value", ["3", "[]", "{}", "[1, 2", "null", "", "one"])
def test_what_is_no_list_is_refused_with_its_value(tmp_path, value):
    (tmp_path / "amber.conf").write_text(f"opencl_device={value}\n")
    with pytest.raises(DARCError, match=r"amber\.conf: opencl_device is .*such as \[1, 2, 3\]"):
        count_instances(tmp_path / "amber.conf")


def test_a_missing_list_is_refused(tmp_path):
    (tmp_path / "amber.conf").write_text("opencl_platform=[0]\n")
    with pytest.raises(DARCError, match="opencl_device is None"):
        count_instances(tmp_path / "amber.conf")


# RecursionError of the JSON parser must not end a service
@pytest.mark.parametrize(
    "content", [None, b"\xff\xfe", b"no equals sign\n", b"opencl_device=" + b"[" * 100_000]
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, content):
    if content is not None:
        (tmp_path / "amber.conf").write_bytes(content)
    with pytest.raises(DARCError, match=r"amber\.conf"):
        count_instances(tmp_path / "amber.conf")


@pytest.mark.parametrize("path", [None, 5, ["amber.conf"]])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(DARCError, match="amber_config"):
        count_instances(path)


def test_real_settings(reference_data):
    assert count_instances(reference_data / "amber" / "amber.conf") == 3
