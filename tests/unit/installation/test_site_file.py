"""What a site tells becomes a file that is right, or is refused."""

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from darc.config import check_config, load_config
from darc.installation.site_file import Site, SiteFileError, parse_addresses, parse_workers, site_file


@pytest.mark.parametrize(
    ("text", "workers"),
    [
        ("", ()),
        ("arts001", (("arts001", 0),)),
        ("arts009-arts011", (("arts009", 0), ("arts010", 1), ("arts011", 2))),
        ("arts009-011", (("arts009", 0), ("arts010", 1), ("arts011", 2))),
        ("a:7, b", (("a", 7), ("b", 8))),
        ("arts-data", (("arts-data", 0),)),
        ("n1-m3", (("n1-m3", 0),)),
    ],
)
def test_a_list_of_workers_counts_beams(text, workers):
    assert parse_workers(text) == workers


@pytest.mark.parametrize("text", ["a:b", "n3-n1", "n1-n99999"])
def test_what_is_no_list_of_workers_is_refused(text):
    with pytest.raises(SiteFileError):
        parse_workers(text)


@pytest.mark.parametrize("text", ["a", "=1", "a=", "a=1,b"])
def test_what_is_no_list_of_addresses_is_refused(text):
    with pytest.raises(SiteFileError, match="NAME=ADDRESS"):
        parse_addresses(text)


FULL = Site(
    master="arts041",
    workers=parse_workers("arts001-arts040"),
    addresses=parse_addresses("arts001=10.0.0.1, arts041=10.0.0.41"),
    mode="real-time",
    parset_dirs=("/shared/parsets", "/home/arts"),
    data_dir="/data/",
    web_dir="/var/www/darc",
    web_url="https://example.org/darc",
    mail_server="mail:587",
    mail_to=("a@example.org", "b@example.org"),
)


def test_a_full_site_is_read_as_it_was_told(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / "site.yaml"
    path.write_text(site_file(FULL))
    assert check_config(path) == []
    config = load_config(path, "arts001")
    assert (config.beam, config.darc_master.mode, config.darc_master.address) == (0, "real-time", "0.0.0.0")
    assert config.nodes.master.address == "10.0.0.41" and len(config.nodes.workers) == 40
    assert [str(path) for path in config.darc_master.payload_dirs] == ["/shared/parsets", "/home/arts"]
    assert str(config.processor.result_dir) == "/data/realtime"
    assert (config.mail.host, config.mail.port) == ("mail", 587)
    for section in (config.processor_master, config.lofar_trigger):
        assert list(section.email_settings.to) == list(FULL.mail_to)
    assert config.processor_master.web_url == "https://example.org/darc"
    assert str(config.status_website.web_dir) == "/var/www/darc/status"


def test_one_host_listens_to_itself_only(tmp_path):
    path = tmp_path / "site.yaml"
    path.write_text(site_file(Site(workers=(("one", 3),))))
    assert check_config(path) == []
    assert load_config(path, "one").darc_master.address == "127.0.0.1"


def test_every_part_has_a_comment():
    assert site_file(FULL).count("#") > 10


def test_an_address_of_a_node_that_there_is_not_is_refused():
    with pytest.raises(SiteFileError, match="elsewhere: no such node"):
        site_file(Site(master="m", addresses=(("elsewhere", "1.2.3.4"),)))


TEXT = st.text(min_size=1, max_size=20)


@settings(max_examples=50)
@given(st.builds(Site, master=TEXT, data_dir=TEXT, web_url=TEXT, mail_to=st.lists(TEXT).map(tuple)))
def test_whatever_is_told_the_file_says_that_and_no_more(site):
    content = yaml.safe_load(site_file(site))
    assert content["nodes"]["master"] == {"name": site.master}
    assert content["processor_master"]["email_settings"]["to"] == list(site.mail_to)
    assert content["processor_master"]["web_url"] == site.web_url
    assert content["processor"]["result_dir"] == site.data_dir.rstrip("/") + "/realtime"
