"""syslog: the examples of both standards, what daemons write to files, and what is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from tests.parsers.reading import errors, parsed

#: Of RFC 3164, section 5.4, of RFC 5424, section 6.5, and of daemons.
CASES: list[tuple[str, dict[str, Any]]] = [
    (
        "<34>Oct 11 22:14:15 mymachine su: 'su root' failed for lonvick on /dev/pts/8",
        {
            "facility": "auth",
            "severity": "crit",
            "timestamp": "Oct 11 22:14:15",
            "host": "mymachine",
            "program": "su",
            "pid": None,
            "message": "'su root' failed for lonvick on /dev/pts/8",
        },
    ),
    (
        "<13>Feb  5 17:32:18 10.0.0.99 Use the BFG!",
        {
            "facility": "user",
            "severity": "notice",
            "timestamp": "Feb  5 17:32:18",
            "host": "10.0.0.99",
            "program": None,
            "pid": None,
            "message": "Use the BFG!",
        },
    ),
    (
        "<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \ufeff'su root' failed",
        {
            "facility": "auth",
            "severity": "crit",
            "timestamp": "2003-10-11T22:14:15.003Z",
            "host": "mymachine.example.com",
            "program": "su",
            "pid": None,
            "message_id": "ID47",
            "structured": None,
            "message": "'su root' failed",
        },
    ),
    (
        '<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 app 8710 - [a@1 x="1" y="q\\"\\]\\\\" x="2"][b z=""]',
        {
            "facility": "local4",
            "severity": "notice",
            "timestamp": "2003-08-24T05:14:15.000003-07:00",
            "host": "192.0.2.1",
            "program": "app",
            "pid": 8710,
            "message_id": None,
            "structured": {"a@1": {"x": ["1", "2"], "y": 'q"]\\'}, "b": {"z": ""}},
            "message": None,
        },
    ),
    (
        "<0>1 - - - - - - ",
        {
            "facility": "kern",
            "severity": "emerg",
            "timestamp": None,
            "host": None,
            "program": None,
            "pid": None,
            "message_id": None,
            "structured": None,
            "message": None,
        },
    ),
    (
        "2026-11-25T09:34:17.123456+00:00 web CRON[4711]: (root) CMD (true)",
        {
            "timestamp": "2026-11-25T09:34:17.123456+00:00",
            "host": "web",
            "program": "CRON",
            "pid": 4711,
            "message": "(root) CMD (true)",
        },
    ),
    (
        "Nov 25 09:00:00 fe80::1 kernel: [   12.3] eth0: up",
        {
            "timestamp": "Nov 25 09:00:00",
            "host": "fe80::1",
            "program": "kernel",
            "pid": None,
            "message": "[   12.3] eth0: up",
        },
    ),
    (
        "Nov 25 09:00:00 web last message repeated 2 times",
        {
            "timestamp": "Nov 25 09:00:00",
            "host": "web",
            "program": None,
            "pid": None,
            "message": "last message repeated 2 times",
        },
    ),
    (
        "<191>Nov 25 09:00:00 su: no host",
        {
            "facility": "local7",
            "severity": "debug",
            "timestamp": "Nov 25 09:00:00",
            "host": None,
            "program": "su",
            "pid": None,
            "message": "no host",
        },
    ),
]


@pytest.mark.parametrize(("line", "data"), CASES)
def test_good(line: str, data: dict[str, Any]) -> None:
    assert parsed("syslog", [line]).data == [data]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("", "not syslog: there is no timestamp where one should be"),
        ("<192>Oct 11 22:14:15 a b: c", "not syslog: a priority is at most 191, not 192"),
        ("<034>Oct 11 22:14:15 a b: c", "not syslog: there is no timestamp where one should be"),
        ("<34>1 yesterday a b c d - x", "not syslog: there is no timestamp where one should be"),
        ('<34>1 - - - - - [a x="1] y', "not syslog: the structured data at column 17 has no right form"),
        ('<34>1 - - - - - [a x="1"][a] y', "not syslog: two elements of structured data bear the id 'a'"),
        ('<34>1 - - - - - [a x="1"]y', "not syslog: column 26: a blank is wanted behind the structured data"),
    ],
)
def test_bad(line: str, error: str) -> None:
    assert errors(parsed("syslog", [line])) == [error]


def test_a_standard_can_be_demanded() -> None:
    old, new = CASES[0][0], CASES[2][0]
    assert errors(parsed("syslog", [new, old], standard="rfc5424")) == ["not syslog: the head of RFC 5424 is not there"]
    assert errors(parsed("syslog", [new, old], standard="rfc3164")) == [
        "not syslog: there is no timestamp where one should be"
    ]


def test_the_time_of_an_event() -> None:
    line = CASES[3][0]
    (event,) = parsed("syslog", [line], time={"field": "timestamp", "unit": "iso"}).events
    assert event.time_ns == 1_061_727_255_000_003_000
    old = parsed("syslog", [CASES[0][0]], time={"field": "timestamp", "format": "%b %d %H:%M:%S"})
    assert old.events[0].time.strftime("%b %d %H:%M:%S") == "Oct 11 22:14:15"
