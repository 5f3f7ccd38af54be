"""What is found of models, tables, lists, keys and programs."""

import pytest
import yaml

from darc.config import load_config
from darc.installation import files
from darc.installation.findings import Grade

OK, WARNING, WRONG = Grade


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))

    def load(node="w", **sections):
        nodes = {"master": {"name": "m"}, "workers": {"w": 0}}
        (tmp_path / "site.yaml").write_text(yaml.safe_dump({"nodes": nodes, **sections}))
        return load_config(tmp_path / "site.yaml", node)

    return load


def grades(findings):
    return {f.subject: f.grade for f in findings}


def write_key(path, mode=0o600):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("0123456789abcdef")
    path.chmod(mode)


def test_a_worker_needs_the_keys_of_the_master_node(config, tmp_path):
    cluster = config(darc_master={"address": "0.0.0.0"})
    names = ("command port", "lofar_trigger", "voevent_generator")
    assert grades(files.keys(cluster)) == {f"key: {name}": WRONG for name in names}
    for name in names:
        write_key(tmp_path / "darc" / "keys" / f"{name.replace(' ', '_')}.key")
    assert set(grades(files.keys(cluster)).values()) == {OK}


def test_the_master_node_makes_keys_but_others_may_not_read_them(config, tmp_path):
    assert set(grades(files.keys(config("m"))).values()) == {OK}
    write_key(tmp_path / "darc" / "keys" / "lofar_trigger.key", 0o644)
    assert grades(files.keys(config("m"))) == {"key: lofar_trigger": WRONG, "key: voevent_generator": OK}


def test_a_login_for_mail_is_read(config, tmp_path):
    mail = {"mail": {"tls": "tls", "login_file": str(tmp_path / "login")}}
    assert grades(files.keys(config("m", **mail)))["key: mail"] is WRONG
    (tmp_path / "login").write_text("user\npass word\n")
    (tmp_path / "login").chmod(0o600)
    (found,) = [f for f in files.keys(config("m", **mail)) if f.subject == "key: mail"]
    assert found.grade is OK and "user" in found.text and "pass" not in found.text


def test_models_can_be_loaded_or_are_wrong(config, tmp_path):
    assert [f.grade for f in files.models(config())] == [OK, OK]
    assert list(files.models(config("m"))) == []
    missing = config(processor={"classifier": {"model_dir": str(tmp_path)}})
    assert sorted(f.grade.value for f in files.models(missing)) == sorted(
        grade.value for grade in (WRONG, WRONG, OK, OK)
    )


def test_without_a_model_of_the_galaxy_it_is_said(config):
    def found(**settings):
        return [(f.grade, f.text) for f in files.galaxy(config(amber_clustering=settings))]

    ((grade, text),) = found(galaxy_model="none", galactic_dm_max=100.0)
    assert grade is WARNING and text.startswith("100 pc/cm3 in every direction")


def test_an_old_table_of_the_earth_gets_a_warning(config):
    def grade(now):
        return [f.grade for f in files.earth(config(), now)]

    assert grade(1.76e9) == [OK] and grade(4e9) == [WARNING]


def test_the_files_of_a_site_are_read(config, tmp_path):
    assert grades(files.tables(config())) == {
        "known sources": WRONG,
        "RFI mask": WRONG,
        "synthesised beams sc3": OK,  # computed
        "synthesised beams sc4": OK,
    }
    folder = tmp_path / "darc"
    (folder / "rfi_masks").mkdir(parents=True)
    (folder / "rfi_masks" / "zapped_channels_1370.conf").write_text("3 4\n")
    (folder / "source_list.yaml").write_text("pulsars: {B0329+54: 26.7}\nfrbs: {}\naliases: {}\n")
    (folder / "sbtables").mkdir()
    (folder / "sbtables" / "sbtable-sc4-12tabs-71sbs.txt").write_text("1 2 3\n")
    found = {f.subject: f for f in files.tables(config())}
    assert found["RFI mask"].text.endswith("2 channels are left out")
    assert found["known sources"].text.endswith("1 pulsars, 0 FRBs, 0 aliases")
    assert found["synthesised beams sc4"].grade is WRONG


def test_a_mask_that_is_not_used_need_not_be_there(config):
    unused = config(processor={"extractor": {"rfi_apply_mask": False}})
    assert "RFI mask" not in grades(files.tables(unused))


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"prepfold": ["sh"]}, {"program: prepfold": OK}),
        ({"prepfold": ["no-such-program"]}, {"program: prepfold": WARNING}),
        ({"prepfold": [], "calibration_tools": ["no-such-program"]}, {"program: calibration_tools": WRONG}),
    ],
)
def test_programs_are_looked_for(config, settings, found):
    assert grades(files.programs(config(offline_processing=settings))) == found
