"""A record of any era becomes the wire format's record, and a broken one a reason."""

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extractor.message import canonical_json, to_message
from extractor.reading import BrokenRecord, SkipReason, guess_id, read_record

EXAMPLE = """<artist><id>2</id><name>Mr. James Barth &amp; A.D.</name>
<realname>Cari Lekebusch &amp; Alexi Delano</realname>
<profile></profile><data_quality>Correct</data_quality><urls/><namevariations><name>MR JAMES BARTH &amp; A. D.</name>
<name>Mr Barth &amp; A.D.</name></namevariations><aliases><name id="2470">Puente Latino</name><name id="19536">Yakari
&amp; Delano</name></aliases><members><id>26</id><name id="26">Alexi Delano</name><id>27</id><name id="27">Cari
Lekebusch</name></members><images><image type="primary" uri="" width="600"/></images></artist>"""


def record(xml: str) -> dict[str, Any]:
    return read_record(xml.encode())


def test_the_example_of_the_wire_format_comes_out_to_the_byte() -> None:
    xml = EXAMPLE.replace("Yakari\n", "Yakari ").replace("Cari\nLekebusch", "Cari Lekebusch")

    message = to_message("artists", record(xml))

    assert message.sha256 == "49255cd5ddf41823e616e1ca31f3fca01c5eed68d947474c310d4a5c03b66220"
    assert message.message_id == "artists:2"
    assert message.body.startswith(
        b'{"type":"data","id":"2","sha256":"49255cd5ddf41823e616e1ca31f3fca01c5eed68d947474c3'
    )
    assert json.loads(message.body) == {"type": "data", "sha256": message.sha256} | record(xml)


def test_an_empty_element_is_null_an_absent_one_no_key_and_an_empty_container_no_key() -> None:
    xml = "<release id='1'><title/><artists/><genres><genre/></genres><tracklist/><videos></videos></release>"

    assert record(xml) == {"id": "1", "title": None}


@pytest.mark.parametrize(
    ("era", "members"),
    [
        ("2017", "<id>26</id><name>Alexi</name><id>27</id><name>Cari</name>"),
        ("2020", '<id>26</id><name id="26">Alexi</name><id>27</id><name id="27">Cari</name>'),
        ("2025", '<name id="26">Alexi</name><name id="27">Cari</name>'),
        ("indented", '\n\t<name id="26">Alexi</name>\n\t<name id="27">Cari</name>\n'),
    ],
)
def test_members_are_the_same_in_every_era(era: str, members: str) -> None:
    assert record(f"<artist><id>2</id><members>{members}</members></artist>")["members"] == [
        {"id": "26", "name": "Alexi"},
        {"id": "27", "name": "Cari"},
    ]


def test_a_reference_without_id_or_without_name_keeps_what_it_has() -> None:
    xml = '<artist><id>2</id><aliases><name>Old</name><name id="3"/><name/></aliases></artist>'

    assert record(xml)["aliases"] == [{"name": "Old"}, {"id": "3"}]


def test_labels_have_parent_and_sublabels_with_ids() -> None:
    xml = """<label><id>1</id><name>L</name><parentLabel id="5">P</parentLabel>
      <sublabels><label id="6">S &amp; T</label><label>Old</label><label/></sublabels>
      <urls><url/><url>u</url></urls></label>"""

    assert record(xml) == {
        "id": "1",
        "name": "L",
        "parentLabel": {"id": "5", "name": "P"},
        "sublabels": [{"id": "6", "name": "S & T"}, {"name": "Old"}],
        "urls": {"url": ["u"]},
    }


def test_a_master_keeps_its_artists_and_videos() -> None:
    xml = """<master id="113"><main_release>5</main_release><artists><artist><id>3225</id><name>V</name><anv/>
      <join>,</join></artist></artists><genres><genre>Electronic</genre></genres><styles><style>Techno</style>
      <style>House</style></styles><year>0</year><videos><video src="s" duration="1" embed="true"><title>T</title>
      <description/></video></videos></master>"""

    assert record(xml) == {
        "id": "113",
        "main_release": "5",
        "artists": [{"id": "3225", "name": "V", "anv": None, "join": ","}],
        "genres": ["Electronic"],
        "styles": ["Techno", "House"],
        "year": "0",
        "videos": {"video": [{"@src": "s", "@duration": "1", "@embed": "true", "title": "T", "description": None}]},
    }


def test_a_release_has_lists_of_its_own_and_the_rest_in_xml_like_shape() -> None:
    xml = """<release id="1" status="Accepted"><labels><label name="S" catno="SK1" id="5"/>
      <label name="S" catno="SK2" id="5"/></labels><formats><format name="Vinyl" qty="2" text=""><descriptions>
      <description>LP</description></descriptions></format></formats><extraartists><artist><id>0</id><name>X</name>
      <role>R</role></artist><artist><name>Y</name></artist></extraartists>
      <master_id is_main_release="false">0</master_id><series><series name="N" catno="" id="9"/></series>
      <tracklist><track><position>1</position><title>T</title><extraartists><artist><id>4</id></artist></extraartists>
      <artists/><sub_tracks><track><title>U</title></track></sub_tracks></track></tracklist>
      <identifiers><identifier type="Barcode" value="1"/></identifiers>
      <companies><company><id>7</id><catno/></company></companies></release>"""

    assert record(xml) == {
        "id": "1",
        "status": "Accepted",
        "labels": [{"name": "S", "catno": "SK1", "id": "5"}, {"name": "S", "catno": "SK2", "id": "5"}],
        "formats": [{"name": "Vinyl", "qty": "2", "text": "", "descriptions": {"description": ["LP"]}}],
        "extraartists": [{"id": "0", "name": "X", "role": "R"}, {"name": "Y"}],
        "master_id": "0",
        "series": {"series": [{"@name": "N", "@catno": "", "@id": "9"}]},
        "tracklist": {
            "track": [
                {
                    "position": "1",
                    "title": "T",
                    "extraartists": {"artist": [{"id": "4"}]},
                    "sub_tracks": {"track": [{"title": "U"}]},
                }
            ]
        },
        "identifiers": {"identifier": [{"@type": "Barcode", "@value": "1"}]},
        "companies": {"company": [{"id": "7", "catno": None}]},
    }


def test_what_nobody_knows_yet_is_passed_on() -> None:
    xml = '<artist><id>1</id><new a="b">text</new><more><x>1</x><x>2</x></more></artist>'

    assert record(xml) == {"id": "1", "new": {"@a": "b", "#text": "text"}, "more": {"x": ["1", "2"]}}


def test_character_references_are_decoded_in_texts_and_attributes() -> None:
    title, name = "&#214; &amp; &#x1D11E;&#13;", "&#xE9;&quot;&#9;"
    xml = f'<release id="1"><title>{title}</title><labels><label name="{name}" id="2"/></labels></release>'

    assert record(xml) == {"id": "1", "title": "Ö & 𝄞\r", "labels": [{"name": 'é"\t', "id": "2"}]}


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cs"], exclude_characters="\r\n\t<&>")))
def test_text_is_passed_on_untouched(text: str) -> None:
    text = "".join(c for c in text if ord(c) >= 0x20 and c not in "\ufffe\uffff") + " \x85\u202e\U0001f600e\u0301 "

    assert record(f"<artist><id>1</id><name>{text}</name></artist>")["name"] == text


@pytest.mark.parametrize(
    ("raw", "reason", "record_id"),
    [
        (b'<release id="5"><title>\xff</title></release>', SkipReason.INVALID_UTF8, "5"),
        (b'<release id="5"><title>\xed\xa0\x80</title></release>', SkipReason.INVALID_UTF8, "5"),
        (b'<release status="x" id="5"><title>\x01</title></release>', SkipReason.CONTROL_CHARACTER, "5"),
        (b'<release id="5"><title>\x00</title></release>', SkipReason.CONTROL_CHARACTER, "5"),
        (b'<release id="5"><title>&#11;</title></release>', SkipReason.CONTROL_CHARACTER, "5"),
        (b"<artist><id>6</id><name>&#x1B;</name></artist>", SkipReason.CONTROL_CHARACTER, "6"),
        (b"<artist><id>6</id><name></nam></artist>", SkipReason.NOT_WELL_FORMED, "6"),
        (b"<artist><id>6</id><name>&nbsp;</name></artist>", SkipReason.NOT_WELL_FORMED, "6"),
        (b"<artist><id>6</id><name>&</name></artist>", SkipReason.NOT_WELL_FORMED, "6"),
        (b'<release id="5" id="5"/>', SkipReason.NOT_WELL_FORMED, "5"),
        (b"<artist><name>No id</name></artist>", SkipReason.NO_ID, ""),
        (b"<artist><id> </id><name>No id</name></artist>", SkipReason.NO_ID, ""),
        (b"<release/>", SkipReason.NO_ID, ""),
        (b"<artist><id>6</id>" + b"<a>" * 1500 + b"</a>" * 1500 + b"</artist>", SkipReason.NOT_WELL_FORMED, "6"),
        (b"<artist><id>6</id>" + b"<a>" * 9000 + b"</a>" * 9000 + b"</artist>", SkipReason.NOT_WELL_FORMED, "6"),
    ],
)
def test_a_broken_record_says_why(raw: bytes, reason: SkipReason, record_id: str) -> None:
    with pytest.raises(BrokenRecord) as error:
        read_record(raw)

    assert (error.value.reason, guess_id(raw)) == (reason, record_id)


scalars = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner)
)
records = st.dictionaries(st.text(st.characters(codec="utf-8"), min_size=1), values, max_size=6).map(
    lambda found: found | {"id": "1"}
)


@given(records)
def test_the_hash_is_that_of_the_wire_format(found: dict[str, Any]) -> None:
    plain = json.dumps(found, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    assert canonical_json(found) == plain
    assert to_message("artists", found).sha256 == hashlib.sha256(plain).hexdigest()


def test_every_character_is_written_as_the_hash_wants_it() -> None:
    found = {"id": "1", "all": "".join(map(chr, [*range(0xD800), *range(0xE000, 0x110000)]))}

    assert (
        canonical_json(found) == json.dumps(found, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    )


@given(records.filter(lambda found: not found.keys() & {"type", "sha256"}))
def test_the_body_is_the_envelope_and_the_record(found: dict[str, Any]) -> None:
    message = to_message("labels", found)

    assert json.loads(message.body) == {"type": "data", "id": "1", "sha256": message.sha256} | found
    assert message.body.count(b'"sha256":') >= 1
    assert message.body.startswith(b'{"type":"data","id":"1","sha256":"')


def test_a_lone_surrogate_has_no_message() -> None:
    with pytest.raises(UnicodeEncodeError):
        to_message("artists", {"id": "1", "name": "\ud800"})
