"""What `darc demo` refuses before it starts anything."""

import pytest

from darc.simulation import demo


def test_a_folder_that_cannot_be_made_is_refused(tmp_path, capsys):
    (tmp_path / "file").touch()
    for folder in ("file", "file/demo"):
        assert demo.main(["--folder", str(tmp_path / folder)]) == 1
        assert f"{tmp_path / folder}: Not a directory; choose another one" in capsys.readouterr().err


def test_a_configuration_is_for_replays(tmp_path, capsys):
    with pytest.raises(SystemExit):
        demo.main(["--folder", str(tmp_path), "--site-config", "site.yaml"])
    assert "--site-config is for --replay" in capsys.readouterr().err


@pytest.mark.parametrize("speed", ["0", "-1", "nan"])
def test_data_that_never_come_are_refused(tmp_path, capsys, speed):
    with pytest.raises(SystemExit):
        demo.main(["--folder", str(tmp_path), "--replay", str(tmp_path), "--speed", speed])
    assert f"--speed {speed}: above 0" in capsys.readouterr().err
