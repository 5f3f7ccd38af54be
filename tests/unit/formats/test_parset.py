"""Parsets: reading, decoding within limits, and names that are safe."""

import bz2
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.formats import parset as parsets
from darc.formats.parset import ParsetError, decode_parset, encode_parset, parse_parset

# --- text to dictionary ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("key = value", "value"),
        ("key=value", "value"),
        ("  key\t=  value  \r", "value"),
        ("key = a=b = c", "a=b = c"),  # pitfall: splitting at every `=`
        ("key =", ""),
        ("key = value # comment", "value"),
        ("key = value#comment", "value"),
        ("key = #value", "#value"),
        ("key = #value # comment", "#value"),
        ('key = "quoted"', "quoted"),
        ("key = 'quoted' # comment", "quoted"),
        ('key = "a # b" # comment', "a # b"),  # pitfall: comment characters inside values
        ("key = run --tag 'a # b' # comment", "run --tag 'a # b'"),
        ("key = Barnard's star # that's it", "Barnard's star"),
        ("key = \"a\" and 'b'", "\"a\" and 'b'"),
        ("key = 'it\"s'", 'it"s'),
        ('key = "unfinished # comment', '"unfinished'),
    ],
)
def test_a_line_is_split_at_the_first_equals_sign_and_freed_of_comment_and_quotes(line, value):
    assert parse_parset(f"# a comment = nothing\n\n  # another\n{line}\n") == {"key": value}


def test_keys_have_their_types():
    # pitfall: durations that stay strings and are then multiplied
    parset = parse_parset(
        "startpacket=1217362088000000\nbeam = 5\nntabs=12\nnsynbeams=71\nnetwork_port_event_i=30000\n"
        "network_port_event_iquv=30001\nduration=299.008\nhistory_i=10\nhistory_iquv=10.24\nsnrmin=8.0\n"
        "min_freq='1219.70092773'\nproctrigger=True\nenable_iquv=false\nbeams=[0, 1, 2]\nfreq=1369.6\n"
        "date=20190518\n"
    )
    assert parset["startpacket"] == 1217362088000000 and type(parset["startpacket"]) is int
    assert parset["duration"] * 2 == 598.016 and type(parset["history_i"]) is float
    assert parset["min_freq"] == 1219.70092773
    assert parset["proctrigger"] is True and parset["enable_iquv"] is False
    assert parset["beams"] == [0, 1, 2]
    assert parset["freq"] == "1369.6" and parset["date"] == "20190518"
    assert {type(parset[key]) for key in ("beam", "ntabs", "nsynbeams", "network_port_event_iquv")} == {int}


@pytest.mark.parametrize(
    ("line", "allowed"),
    [
        ("beam = CB05", "a whole number"),
        ("beam = 5.0", "a whole number"),
        ("startpacket = " + "1" * 5000, "a whole number"),
        ("duration = long", "a finite number"),
        ("duration = nan", "a finite number"),
        ("snrmin = ", "a finite number"),
        ("proctrigger = maybe", "True or False"),
        ("beams = 5", "a list of beam numbers"),  # pitfall: an integer where a list is expected
        ("beams = [0..39]", "a list of beam numbers"),
        ("beams = [true]", "a list of beam numbers"),
        ("beams = " + "[" * 100_000, "a list of beam numbers"),
    ],
)
def test_a_value_of_the_wrong_type_is_named_with_its_line_and_what_is_allowed(line, allowed):
    with pytest.raises(ParsetError) as caught:
        parse_parset(f"a = b\n\n{line}\n")
    key, _, value = line.partition(" = ")
    message = str(caught.value)
    assert message.startswith(f"line 3: {key} = ") and value[:20] in message and allowed in message
    assert len(message) < 200


@pytest.mark.parametrize("line", ["no separator", "= value", "ke#y = value", "key = NUL\0"])
def test_a_line_that_is_no_key_and_value_is_named(line):
    with pytest.raises(ParsetError, match="line 2"):
        parse_parset("a = b\n" + line)


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(text):
    try:
        parse_parset(text)
    except ParsetError as error:
        assert "line" in str(error)


keys = st.from_regex(r"[a-z][a-zA-Z.]{0,10}", fullmatch=True).filter(
    lambda key: key not in parsets.TYPED_KEYS
)
values = st.text(st.characters(exclude_characters="\0\n\r#\"'", exclude_categories=["Cs"]), max_size=30)


@given(st.dictionaries(keys, values))
def test_values_come_back(parset):
    text = "".join(f"{key} = {value}\n" for key, value in parset.items())
    assert parse_parset(text) == {key: value.strip() for key, value in parset.items()}


# --- encoding ----------------------------------------------------------------------------------------------


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=500))
def test_an_encoded_parset_comes_back(text):
    assert decode_parset(encode_parset(text)) == text


def test_a_parset_that_decompresses_to_gigabytes_is_refused_without_the_memory_for_it():
    # pitfall: an encoded parset that decompresses to gigabytes
    compressor = bz2.BZ2Compressor()
    bomb = compressor.compress(bytes(2**25)) + compressor.flush()
    tracemalloc.start()
    with pytest.raises(ParsetError, match="more than 1048576 bytes once decompressed"):
        decode_parset(bomb.hex(), max_bytes=2**20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 2**20


def test_the_limit_is_16_mib_and_inclusive():
    limit = 16 * 2**20
    assert len(decode_parset(encode_parset("a" * limit))) == limit
    with pytest.raises(ParsetError, match="more than 16777216 bytes"):
        decode_parset(encode_parset("a" * (limit + 1)))


@pytest.mark.parametrize(
    ("encoded", "reason"),
    [
        ("not hex", "not hexadecimal"),
        ("é", "not hexadecimal"),
        ("00" * 50, "not bz2"),
        (encode_parset("a = b")[:-20], "incomplete"),
        ("", "incomplete"),
        (encode_parset("a = b") + "00", "after its end"),
        (bz2.compress(b"\xff\xfe").hex(), "not UTF-8"),
        (None, "hexadecimal text"),
        ("0" * (49 * 2**20), "hexadecimal text of at most"),
    ],
)
def test_what_cannot_be_decoded_is_refused_with_the_reason(encoded, reason):
    with pytest.raises(ParsetError, match=reason) as caught:
        decode_parset(encoded)
    assert len(str(caught.value)) < 200


@given(st.binary(max_size=200))
def test_any_bytes_are_decoded_or_refused(data):
    for encoded in (data.hex(), data.decode("latin-1"), (b"BZh9" + data).hex()):
        try:
            decode_parset(encoded)
        except ParsetError as error:
            assert str(error)


# --- names that become folders -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "2019-05-18-23:51:13.B1933+16",
        "3C286drift0107",
        "FRB 121102",
        "20190518",
        "J0139+33_polcal",
        "a@b,c=d",
    ],
)
def test_real_names_are_safe(name):
    assert parsets.check_path_component("datetimesource", name) == name


@pytest.mark.parametrize(
    "name",
    ["../../etc", "..", ".", "a..b", "/etc", "a/b", "-rf", ".hidden", "", " ", "a ", "a\nb", "a\0b", "a\x7fb"]
    + [f"a{character}b" for character in ";|&$<>`\"'\\*?[]{}()!#~%^\t\r"]
    + ["é", "a\u202eb", "x" * 201],
)
def test_unsafe_names_are_refused_with_the_reason(name):
    # pitfall: a `datetimesource` such as `../../etc`; a source name with shell characters in it
    with pytest.raises(ParsetError, match=r"datetimesource = .* is not safe as the name of a folder: ."):
        parsets.check_path_component("datetimesource", name)


@given(st.text(max_size=20))
def test_no_name_that_passes_leaves_its_folder(name):
    try:
        parsets.check_path_component("source", name)
    except ParsetError:
        return
    assert not set(name) & set("/\\\0;|&$<>`\"'*?()") and name not in ("", ".", "..") and name[0] not in ".-"
