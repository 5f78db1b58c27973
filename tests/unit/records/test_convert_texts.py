"""The seven converters one by one: what the existing archiver lost is there, and values are what the text says."""

from __future__ import annotations

import time

from rra_state.records import fhicl
from rra_state.records.convert import boardreaders, boot, environment, metadata, ranks, settings, setup
from tests.waiting import scaled


def values(text: bytes) -> dict[str, object]:
    return dict(fhicl.values(text))


# ---- metadata ------------------------------------------------------------------------------------------------------


def test_metadata_has_the_shape_its_readers_know() -> None:
    text = (
        b"Config name: demo\nComponent #0: a-1\nComponent #1: b\nDAQInterface directory: host-1:/opt/daq\n\n# why\n\n"
        b'sbndaq-x commit/version: 98c6 0 1 "Say \\w" "v1"\n\nprocess management method: direct\n\n'
        b"process manager logfiles: \n/log/a b\n\nboardreader logfiles: \n\nDAQInterface start time: Wed Oct 16 2024\n"
        b"Total events: 61234\n"
    )

    assert metadata.to_fhicl(text).decode() == (
        'config_name: "demo"\ncomponents: ["a-1", "b"]\nDAQInterface_directory: "host-1:/opt/daq"\n# why\n'
        'sbndaq_x_commit_or_version: "98c6 0 1  Say \\\\w   v1 "\nprocess_management_method: "direct"\n'
        '\nprocess_manager_logfiles: ["/log/a b"]\n\nboardreader_logfiles: []\n'
        'daqinterface_start_time: "Wed Oct 16 2024"\ntotal_events: 61234\n'
    )


def test_case_e1_a_comment_after_a_form_feed_is_kept() -> None:
    made = metadata.to_fhicl(b"Config name: demo\n\x0b# one\n \x0c # two\n\t# three\n")

    assert values(made) == {"config_name": "demo"}
    assert made.decode() == 'config_name: "demo"\n # one\n   # two\n\t# three\n'


def test_blocks_open_at_the_end_of_the_file_are_kept() -> None:
    assert values(metadata.to_fhicl(b"Component #0: a"))["components"] == ["a"]
    for kind in ("process manager", "boardreader", "routingmanager", "dispatcher", "aggregator", "routingmaster"):
        text = f"boardreader logfiles: \nx:/1\n\n{kind} logfiles: \nhost-1:/a\nhost.2:/cut-o".encode()

        assert values(metadata.to_fhicl(text))[f"{kind.replace(' ', '_')}_logfiles"] == ["host-1:/a", "host.2:/cut-o"]


def test_a_known_key_ends_a_block() -> None:
    made = values(metadata.to_fhicl(b"a logfiles: \nx:/1\nb logfiles: \ny:/2\nDAQInterface stop time: now\n"))

    assert made == {"a_logfiles": ["x:/1"], "b_logfiles": ["y:/2"], "daqinterface_stop_time": "now"}


def test_an_empty_line_ends_a_block_before_any_key() -> None:
    made = values(metadata.to_fhicl(b"a logfiles: \nx:/1\n\nRun type: physics\n"))

    assert made == {"a_logfiles": ["x:/1"], "Run_type": "physics"}


def test_older_keys_are_known() -> None:
    made = values(metadata.to_fhicl(b"pmt logfile(s): h:/tmp/*.log\nartdaq commit: 12e4\nartdaq-demo commit: 0012\n"))

    assert made == {"pmt_logfiles_wildcard": "h:/tmp/*.log", "artdaq_commit": "12e4", "artdaq_demo_commit": "0012"}


def test_line_ends_and_foreign_bytes_are_not_part_of_keys() -> None:
    made = values(metadata.to_fhicl("\ufeffConfig name: a\r\n# é\x0c #include\rOther: é\u2028x\n".encode()))

    assert made == {"config_name": "a", "Other": "\\u00E9\\u2028x"}
    assert fhicl.unescape(str(values(metadata.to_fhicl(b"K: \xe9\n"))["K"])) == b"\xe9"


def test_a_comment_is_no_include_directive() -> None:
    assert values(metadata.to_fhicl(b'#include "x.fcl"\na: 1\n')) == {"a": 1}


def test_odd_keys_and_lines_stay_readable() -> None:
    text = metadata.to_fhicl(b"3rd.key(s)[0]: x\nno colon here\nBEGIN_PROLOG: 1\n")

    assert b'# "3rd.key(s)[0]"\n_3rd_key_s__0_: "x"\nline_2: "no colon here"\n' in text
    assert len(values(text)) == 3


def test_nothing_but_comments_is_still_a_document() -> None:
    for converter in (metadata, settings, environment, boardreaders):
        assert values(converter.to_fhicl(b"\n")) == {"no_entries": True}
    assert values(setup.to_fhicl(b"")) == {"setup_script": ""}
    assert values(ranks.to_fhicl(b"")) == {"ranks": {"header": []}}
    assert values(boot.to_fhicl(b"")) == {"artdaq_process_settings": []}


# ---- boot ----------------------------------------------------------------------------------------------------------


def test_repeated_sources_become_a_list_and_no_attribute_leaks() -> None:
    made = values(
        boot.to_fhicl(b"Subsystem id: 4\nSubsystem source: 2\nSubsystem source: 3\nSubsystem fragmentMode: False\n")
    )

    assert made == {
        "subsystem_settings": [{"id": 4, "source": [2, 3], "fragmentMode": "False"}],
        "artdaq_process_settings": [],
    }


def test_a_comment_line_closes_a_block() -> None:
    text = (
        b"EventBuilder host: a-1\nEventBuilder label: E1\nEventBuilder port: 5235\n"
        b"EventBuilder allowed_processors: 1,2\n"
        b'# next\nEventBuilder host: a-2\nEventBuilder label: E1\nEventBuilder prepend: "numactl -N 1"\n\n'
        b"Dispatcher host: d\nDataLogger label: L\nDataLogger target: x\nDataLogger label: L2"
    )

    assert values(boot.to_fhicl(text))["artdaq_process_settings"] == [
        {"name": "EventBuilder", "label": "E1", "host": "a-1", "port": 5235, "allowed_processors": "1,2"},
        {"name": "EventBuilder", "label": "E1", "host": "a-2", "prepend": "numactl -N 1"},
        {"name": "Dispatcher", "host": "d"},
        {"name": "DataLogger", "label": "L", "host": "not set", "target": "x"},
        {"name": "DataLogger", "label": "L2", "host": "not set"},
    ]


def test_boot_values_are_what_the_text_says() -> None:
    text = (
        b'debug level: 1   # very quiet\nq: "a # b" # c\nhash: a#b\nnote: he said "hello" to \\me\ntwo: "a" and "b"\n'
        b'list: [ a, "b, c", 3, 007 ]\nnested: [[1], 2]\nempty:\nend: C:\\\ndot: .\n'
        b"v: 1.2.3\nlong: 12345678901234567890\n"
    )

    made = values(boot.to_fhicl(text))

    made.pop("artdaq_process_settings")
    assert made == {
        "debug_level": 1,
        "q": "a # b",
        "hash": "a#b",
        "note": 'he said "hello" to \\me',
        "two": '"a" and "b"',
        "list": ["a", "b, c", 3, "007"],
        "nested": "[[1], 2]",
        "empty": "",
        "end": "C:\\x5C",
        "dot": ".",
        "v": "1.2.3",
        "long": "12345678901234567890",
    }


def test_of_equal_keys_the_last_keeps_the_name() -> None:
    made = values(boot.to_fhicl(b"a: 1\na-: 2\na: 3\na_earlier1: x\na: 4\n"))

    assert (made["a"], made["a_earlier1"], made["a_earlier2"], made["a_earlier3"]) == (4, "x", 1, 3)


# ---- settings ------------------------------------------------------------------------------------------------------


def test_list_items_are_unchanged() -> None:
    made = values(
        settings.to_fhicl(b"packages: [ artdaq-core, 'a/b', host:1.5, \"x, y\", wib[13]0, 3 ] # c\nopen: [ a, b\n")
    )

    assert made == {"packages": ["artdaq-core", "a/b", "host:1.5", "x, y", "wib[13]0", 3], "open": ["a", "b"]}


def test_a_hostile_list_costs_no_time() -> None:
    started = time.perf_counter()

    settings.to_fhicl(b"a: [ b" + b" " * 200_000 + b"c, " + b"'" * 50_000 + b'"x' * 50_000 + b"\n")

    assert time.perf_counter() - started < scaled(1)


def test_settings_keys_and_values() -> None:
    text = settings.to_fhicl(
        b'Max Events (all): 60#x\nuse: TRUE\nre: [wt]ib.* \\d [1-6]\nwho: "a # b"\nit: it\'s # c\n'
        b"x.y: 1.50\njust words\n"
    )

    assert values(text) == {
        "Max_Events_all_": 60,
        "use": True,
        "re": "[wt]ib.* \\d [1-6]",
        "who": "a # b",
        "it": "it's",
        "x_y": "1.50",
        "line_7": "just words",
    }
    assert b'# "x.y"\nx_y: ' in text


# ---- environment ---------------------------------------------------------------------------------------------------


def test_environment_values_are_not_quoted_and_may_have_several_lines() -> None:
    text = environment.to_fhicl(
        b'stray\nexport A="a b"\nexport B=one\n two = 2\n\n#three\nexport C=\\new\\\nexport 2D-x=don\'t\n'
        b"DAQINTERFACE_E=5\n"
        b'declare -x F="v"\n\n'
    )

    assert values(text) == {
        "line_1": "stray",
        "A": '"a b"',
        "B": "one\n two = 2\n\n#three",
        "C": "\\new\\x5C",
        "_2D_x": "don't",
        "DAQINTERFACE_E": "5",
        "F": '"v"',
    }
    assert b'# "2D-x"\n_2D_x: ' in text


# ---- ranks and board readers ---------------------------------------------------------------------------------------


def test_every_row_of_the_ranks_is_kept() -> None:
    text = b"host port label subsystem rank\n\na 1 x 1 0  \nb 2 y 1 0\nc 3 z 1 -1 more\nd 4 short\n"

    assert values(ranks.to_fhicl(text)) == {
        "ranks": {
            "header": ["host", "port", "label", "subsystem", "rank"],
            "rank0_earlier1": ["a", "1", "x", "1", "0"],
            "rank0": ["b", "2", "y", "1", "0"],
            "rank_1": ["c", "3", "z", "1", "-1", "more"],
            "line_6": ["d", "4", "short"],
        }
    }


def test_case_e11_ranks_of_2018_have_four_columns() -> None:
    text = b"host\tport\tlabel\trank\n\nmu2edaq01\t5200\tcomponent01\t0\nmu2edaq01\t5201\tEventBuilder1\t1\n"

    assert values(ranks.to_fhicl(text)) == {
        "ranks": {
            "header": ["host", "port", "label", "rank"],
            "rank0": ["mu2edaq01", "5200", "component01", "0"],
            "rank1": ["mu2edaq01", "5201", "EventBuilder1", "1"],
        }
    }


def test_board_readers_keep_prefixes_repeats_and_odd_quotes() -> None:
    text = b'# name host\nr1 h -1 1 0-15 "/bin/env A=$B \\d " # c\n\nr1\th2\nalone\nx-1 h "open # quote\n'

    assert values(boardreaders.to_fhicl(text)) == {
        "r1_earlier1": ["h", "-1", "1", "0-15", "/bin/env A=$B \\d "],
        "r1": ["h2"],
        "alone": [],
        "x_1": ["h", '"open'],
    }


def test_the_setup_script_is_one_string_without_a_line_end() -> None:
    assert setup.to_fhicl(b'echo "a\\"\n\te\xe9\n') == b'setup_script: "echo \\"a\\\\\\"\\n\\te\\\\xE9\\n"'
