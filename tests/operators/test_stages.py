"""The operators that look at one event at a time and what they keep in between: dedupe, throttle, scan, redact …"""

from __future__ import annotations

import base64
import json
import random
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loguru import logger

import rx_collector as rx
from rx_collector import operators as op
from rx_collector.event import Event, Lines, Origin
from rx_collector.operators.redact import _NEEDED, PATTERNS, _Redaction
from rx_collector.stream.segment import Step, compile_segment
from tests.events import ORIGIN, event, run, run_batches


def notes(result: Any, index: int = 0) -> dict[str, int]:
    return {name: count for name, count in result.report.pipelines["test"].nodes[index].notes.items() if count}


def at(seconds: float, data: Any, line: int = 1) -> Event:
    """An event that was read so many seconds after the first."""
    origin = Origin(ORIGIN.run, ORIGIN.runner, 1, 42, ORIGIN.observed_ns + round(seconds * 1e9))
    return Event(data, None, origin, line)


def over_time(*operators: Any, given: list[tuple[float, Any]]) -> Any:
    return run_batches([[at(seconds, data, n)] for n, (seconds, data) in enumerate(given, 1)], *operators)


def mixed(records: list[Any]) -> list[Any]:
    """The same records in turn as lines and as events: both loops have to keep one state."""
    batches: list[Any] = []
    for number, record in enumerate(records, 1):
        line = json.dumps(record).encode()
        batches.append(Lines([line], number, ORIGIN) if number % 2 else [Event(record, None, ORIGIN, number)])
    return batches


# dedupe


def test_dedupe_lets_the_first_pass_and_merges_the_others() -> None:
    records = [{"pid": 1}, {"pid": 2}, {"pid": 1}, {"pid": None}, {}, {"pid": [1]}, {"pid": [1]}, {"pid": "1"}]
    result = run(op.dedupe("pid"), events=records)
    assert result.data == [{"pid": 1}, {"pid": 2}, {"pid": None}, {"pid": [1]}, {"pid": "1"}]
    assert result.report.pipelines["test"].nodes[0].merged == 3


def test_dedupe_by_several_keys_a_function_and_the_envelope() -> None:
    records = [{"a": 1, "b": 1}, {"a": 1, "b": 2}, {"a": 1, "b": 1}]
    assert len(run(op.dedupe(["a", "b"]), events=records).data) == 2
    assert len(run(op.dedupe(lambda e: e["a"]), events=records).data) == 1
    assert len(run(op.dedupe("meta.line"), events=records).data) == 3


def test_dedupe_forgets_after_a_time() -> None:
    moments = [(0.0, {"a": 1}), (0.9, {"a": 1}), (1.0, {"a": 1}), (1.9, {"a": 1}), (2.0, {"a": 2})]
    result = over_time(op.dedupe("a", time="1s"), given=moments)
    assert [one.origin.observed_ns - ORIGIN.observed_ns for one in result.events] == [0, 10**9, 2 * 10**9]


def test_dedupe_forgets_the_key_that_passed_longest_ago_and_says_so() -> None:
    result = run(op.dedupe("a", size=2), events=[{"a": a} for a in [1, 2, 1, 3, 1]])
    assert [one["a"] for one in result.data] == [1, 2, 3, 1]
    assert notes(result) == {"evicted": 2}


def test_dedupe_keeps_one_state_for_lines_and_events() -> None:
    result = run_batches(mixed([{"message": "x"}] * 6), op.dedupe("meta.runner"))
    assert len(result.events) == 1


def test_dedupe_reads_no_more_than_its_key() -> None:
    """Fused behind a parse, the rest of a line that does not pass is not even decoded."""
    good, bad = b'{"a": 1, "b": 1}', b'{"a": 1, "b": 1e400}'
    result = run_batches([Lines([good, bad], 1, ORIGIN)], op.parse("json"), op.dedupe("a"))
    assert len(result.events) == 1
    assert result.rejected == []


# throttle


def test_throttle_is_a_bucket_of_tokens_for_each_key() -> None:
    moments = [(t, {"k": "a"}) for t in (0, 0, 0, 0.25, 0.5, 0.5, 10, 10, 10)] + [(10, {"k": "b"})]
    result = over_time(op.throttle(2, "1s", "k"), given=moments)
    assert [(one.origin.observed_ns - ORIGIN.observed_ns) / 1e9 for one in result.events] == [0, 0, 0.5, 10, 10, 10]
    assert result.report.pipelines["test"].filtered == 4


def test_throttle_of_a_clock_that_goes_back_gives_no_tokens() -> None:
    result = over_time(op.throttle(1, "1s"), given=[(5, {}), (0, {}), (5.5, {}), (6, {})])
    assert [one.line for one in result.events] == [1, 4]


@pytest.mark.parametrize(
    ("operator", "lines"),
    [(op.throttle(1, "1s"), [1, 4, 6]), (op.dedupe("k", "2s"), [1, 3, 6])],
    ids=["throttle", "dedupe"],
)
def test_a_clock_that_is_set_back_by_an_hour_holds_nothing_up_for_it(operator: Any, lines: list[int]) -> None:
    moments = [(second, {"k": "a"}) for second in (3600, 3600.5, 0, 1, 1.5, 2)]
    assert [one.line for one in over_time(operator, given=moments).events] == lines


def test_a_log_writes_again_when_the_clock_was_set_back(log: list[str]) -> None:
    over_time(op.log("message", count=1), given=[(n, {"message": str(n)}) for n in (3600, 3600.5, 0, 0.5, 1)])
    assert [line.split()[1] for line in log if line.startswith("INFO")] == ["3600", "0", "1"]


def test_throttle_forgets_a_key_and_says_so() -> None:
    result = run(op.throttle(1, "1h", "k", size=1), events=[{"k": k} for k in "abab"])
    assert len(result.data) == 4
    assert notes(result) == {"evicted": 3}


@given(st.lists(st.tuples(st.floats(0, 3), st.booleans()), max_size=60), st.integers(1, 5))
def test_throttle_never_lets_more_pass_than_it_says(gaps: list[tuple[float, bool]], count: int) -> None:
    now, moments = 0.0, []
    for gap, none in gaps:
        now += 0 if none else gap
        moments.append((now, {}))
    times = [one.origin.observed_ns for one in over_time(op.throttle(count, "1s"), given=moments).events]
    for start in times:
        within = [time for time in times if start <= time < start + 10**9]
        assert len(within) <= 2 * count  # a full bucket, and what comes back meanwhile


# sample


def test_sample_by_key_keeps_all_or_none_of_a_key() -> None:
    records = [{"pid": pid} for pid in range(2000)] * 2
    result = run(op.sample(rate=0.25, key="pid"), events=records)
    kept = [one["pid"] for one in result.data]
    assert kept[: len(kept) // 2] == kept[len(kept) // 2 :]
    assert 400 < len(set(kept)) < 600
    assert run(op.sample(rate=0.25, key="pid"), events=records).data == result.data


def test_sample_without_a_key_and_at_its_ends() -> None:
    records = [{"n": n} for n in range(4000)]
    assert 850 < len(run(op.sample(rate=0.25), events=records).data) < 1150
    assert run(op.sample(rate=0), events=records).data == []
    assert run(op.sample(rate=1), events=records).data == records


def test_sample_every_nth_of_each_key() -> None:
    result = run(op.sample(every=3, key="k"), events=[{"k": k, "n": n} for n in range(6) for k in "ab"])
    assert [(one["k"], one["n"]) for one in result.data] == [("a", 0), ("b", 0), ("a", 3), ("b", 3)]


def test_sample_wants_one_of_the_two() -> None:
    for options in ({}, {"rate": 0.5, "every": 2}, {"rate": 1.5}, {"rate": "x"}, {"every": 0}):
        with pytest.raises(rx.ConfigError):
            op.sample(**options)


# skip and limit


def test_skip_counts_lines_and_events_alike() -> None:
    result = run_batches(mixed([{"message": str(n)} for n in range(6)]), op.skip(3))
    assert [one.line for one in result.events] == [4, 5, 6]
    assert result.report.pipelines["test"].filtered == 3


@pytest.mark.parametrize(("count", "passing"), [(1, 1), (3, 3), (4, 4), (9, 6)])
def test_limit_completes_in_the_middle_of_a_batch(count: int, passing: int) -> None:
    batches = [[event({"n": n}, n) for n in numbers] for numbers in ([1, 2, 3], [4, 5], [6])]
    result = run_batches(list(batches), op.limit(count))
    assert [one["n"] for one in result.data] == list(range(1, passing + 1))
    assert result.report.pipelines["test"].filtered == 6 - passing
    with pytest.raises(rx.ConfigError):
        op.limit(0)


def test_after_a_limit_an_error_is_not_heard_any_more() -> None:
    result = run_batches([[event({})]], op.limit(1), error=ValueError("late"))
    assert result.error is None


# explode and flatten


def test_explode() -> None:
    records: list[Any] = [
        {"a": 1, "l": [1, 2]},
        {"a": 2, "l": []},
        {"a": 3},
        {"a": 4, "l": "text"},
        {"a": 5, "l": [{}]},
    ]
    result = run(op.explode("l", index="i"), op.filter("True"), events=records)
    assert result.data == [{"a": 1, "l": 1, "i": 0}, {"a": 1, "l": 2, "i": 1}, {"a": 5, "l": {}, "i": 0}]
    assert [one.part for one in result.events] == ["0", "1", "0"]
    assert [one["error"] for one in result.rejected] == ["TypeError: a list is wanted in field 'l', not a str"]
    node = result.report.pipelines["test"].nodes[0]
    assert (node.filtered, node.made, node.rejected) == (2, 1, 1)
    assert run(op.explode("l", keep_empty=True), events=records[1:3]).data == records[1:3]


def test_flatten() -> None:
    record: Any = {"a": {"b": {"c": 1}, "d": []}, "e": {}, "f": [{"g": 2}, 3], "h": {"i": 4}}
    (flat,) = run(op.flatten(), events=[record]).data
    assert flat == {"a.b.c": 1, "a.d": [], "e": {}, "f": [{"g": 2}, 3], "h.i": 4}
    (some,) = run(op.flatten(["a"], separator="_", depth=1), events=[record]).data
    assert some == {"a_b": {"c": 1}, "a_d": [], "e": {}, "f": [{"g": 2}, 3], "h": {"i": 4}}
    (lists,) = run(op.flatten("f", lists=True), events=[record]).data
    assert lists == {"a": {"b": {"c": 1}, "d": []}, "e": {}, "f.0.g": 2, "f.1": 3, "h": {"i": 4}}
    assert record["a"] == {"b": {"c": 1}, "d": []}


def test_what_needs_fields_rejects_a_payload_without_any() -> None:
    for operator in (op.flatten(), op.cast({"a": "int"}), op.encode({"a": "hex"}), op.coalesce({"a": ["b"]})):
        result = run(operator, events=["text"])
        assert (len(result.rejected), result.data) == (1, [])


# cast, coalesce, encode and decode


@pytest.mark.parametrize(
    ("kind", "value", "wanted"),
    [
        *[("int", given, wanted) for given, wanted in [("7", 7), (" -0x1F ", -31), (7.0, 7), (True, 1), ("1_0", 10)]],
        *[("float", given, wanted) for given, wanted in [("1e3", 1000.0), (1, 1.0)]],
        *[("boolean", given, wanted) for given, wanted in [("Yes", True), ("off", False), (0, False), (True, True)]],
        *[("text", given, wanted) for given, wanted in [(7, "7"), ("x", "x"), (True, "true"), ([1], "[1]")]],
    ],
)
def test_cast(kind: str, value: Any, wanted: Any) -> None:
    (data,) = run(op.cast({"a": kind}), events=[{"a": value, "b": 1}]).data
    assert data == {"a": wanted, "b": 1}
    assert type(data["a"]) is type(wanted)


@pytest.mark.parametrize(
    ("kind", "value"), [("int", "x"), ("int", 1.5), ("float", []), ("boolean", "maybe"), ("int", "")]
)
def test_cast_rejects_what_is_not_of_the_type(kind: str, value: Any) -> None:
    result = run(op.cast({"b": "text", "a": kind}), events=[{"a": value, "b": 1}])
    (record,) = result.rejected
    assert record["data"] == {"a": value, "b": 1}  # unchanged
    assert record["error"].startswith(f"ValueError: field 'a' cannot become {kind}")
    assert run(op.cast({"a": kind}), events=[{"a": None}, {}]).data == [{"a": None}, {}]


def test_coalesce() -> None:
    records = [{"b": 1, "c": 2}, {"a": 0}, {"a": None, "c": 3}, {}]
    result = run(op.coalesce({"x": ["a", "b", "c"]}), events=[dict(record) for record in records])
    assert [one["x"] for one in result.data] == [1, 0, 3, None]


@given(st.text(), st.sampled_from(["base64", "hex", "url"]))
def test_what_was_encoded_is_decoded_again(text: str, form: str) -> None:
    records = [{"a": text, "b": 1}]
    assert run(op.encode({"a": form}), op.decode({"a": form}), events=records).data == records


def test_decode_takes_what_others_write() -> None:
    def decoded(form: str, text: str) -> Any:
        result = run(op.decode({"a": form}), events=[{"a": text}])
        return result.data[0]["a"] if result.data else result.rejected[0]["error"]

    assert decoded("base64", base64.urlsafe_b64encode("ÿþ?".encode()).decode()) == "ÿþ?"
    assert decoded("base64", "aGVs\nbG8") == "hello"
    assert decoded("base64", "%%").startswith("ValueError: field 'a', base64: ")
    assert decoded("hex", "0x68:69") == "hi"
    assert decoded("hex", "ff") == "\ufffd"
    assert decoded("hex", "6").startswith("ValueError: field 'a', hex: ")
    assert decoded("url", "a+b%20c%") == "a b c%"
    assert "a text is wanted" in run(op.decode({"a": "hex"}), events=[{"a": 1}]).rejected[0]["error"]
    assert run(op.encode({"a": "hex"}), events=[{"a": [1]}]).data == [{"a": b"[1]".hex()}]


# scan and diff


def test_scan_for_each_key() -> None:
    records = [{"k": "a", "n": 1}, {"k": "b", "n": 10}, {"k": "a", "n": 2, "total": 99}]
    result = run(op.scan({"total": "default(total, 0) + n", "seen": "default(seen, 0) + 1"}, by="k"), events=records)
    assert [(one["total"], one["seen"]) for one in result.data] == [(1, 1), (10, 1), (3, 2)]
    assert records[2]["total"] == 99


def test_scan_that_fails_rejects_one_event_as_it_was_and_goes_on() -> None:
    records = [{"n": 1}, {"n": "x", "total": 5}, {"n": 2}]
    result = run(op.scan({"total": "default(total, 0) + n"}), events=records)
    assert [one["total"] for one in result.data] == [1, 3]
    assert result.rejected[0]["data"] == {"n": "x", "total": 5}


def test_scan_from_lines_with_a_function_and_a_bound() -> None:
    step = {"total": lambda before, event: (before or 0) + int(event["message"])}
    result = run(op.scan(step, by="message", size=2), lines=["1", "2", "1", "3", "2"])
    assert [one["total"] for one in result.data] == [1, 2, 2, 3, 2]
    assert notes(result) == {"evicted": 2}


def test_scan_keeps_a_payload_as_it_was() -> None:
    result = run(op.parse("json"), op.scan({"before": "[this, before]"}), op.set(n="-n"), lines=['{"n":1}', '{"n":2}'])
    assert result.data == [
        {"n": -1, "before": [{"n": 1}, None]},
        {"n": -2, "before": [{"n": 2}, [{"n": 1}, None]]},
    ]


def test_diff_of_counters() -> None:
    moments = [
        (0, {"i": "a", "rx": 100}),
        (1, {"i": "b", "rx": 5}),
        (2, {"i": "a", "rx": 300, "tx": 1}),
        (3, {"i": "a", "rx": 50, "tx": 2.5}),  # reset
        (3, {"i": "a", "rx": 60}),  # no time has gone by
    ]
    result = over_time(op.diff(["rx", "tx"], by="i", rate=True), given=moments)
    a = [one for one in result.data if one["i"] == "a"]
    assert [(one["rx_change"], one["rx_rate"]) for one in a] == [(None, None), (200, 100.0), (None, None), (10, None)]
    assert a[2]["tx_change"] == 1.5
    assert "tx_change" not in a[3]
    assert run(op.diff("rx"), events=[{"rx": "1"}]).rejected[0]["error"].startswith("TypeError: a number is wanted")


@pytest.mark.parametrize("operator", [op.dedupe("k", size=7), op.scan({"n": "1"}, by="k", size=7)])
def test_what_is_kept_is_bounded_whatever_comes(operator: Any) -> None:
    result = run(operator, events=[{"k": random.Random(number).random()} for number in range(1000)])
    assert notes(result) == {"evicted": 993}


# log


def test_log_writes_no_more_lines_than_it_says() -> None:
    said: list[str] = []
    handler = logger.add(
        lambda message: said.append(str(message.record["level"].name + " " + message.record["message"]))
    )
    logger.enable("rx_collector")
    try:
        moments = [(second, {"n": second}) for second in (0, 0.1, 0.2, 0.3, 1.2)]
        result = over_time(op.log("f'n={n}'", level="warning", count=2, time="1s"), given=moments)
    finally:
        logger.remove(handler)
        logger.disable("rx_collector")
    assert said == ["WARNING n=0", "WARNING n=0.1", "WARNING n=1.2 (2 more like this were not logged)"]
    assert len(result.data) == 5
    assert notes(result) == {"unlogged": 2}


# redact

SECRETS = {
    "authorization": [
        "Authorization: Bearer {}",
        "authorization: Basic {}",
        "Proxy-Authorization:{}",
        '"authorization": "Bearer {}"',
        "GET / HTTP/1.1\\r\\nAuthorization: token {}\\r\\nHost: x",
        "postgresql://app:{}@db.example:5432/x",
        "cloned 'https://:{}@host/x.git'",
    ],
    "cookie": ["Cookie: session={}; other=1", "set-cookie: {}"],
    "key": ["api_key={}&x=1", "password: {}", "AWS_SECRET_KEY={}", '{"access-token": "{}"}', "--password={}"],
}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in SECRETS.items() for text in texts])
def test_redact_finds(name: str, text: str) -> None:
    secret = "s3cr3tV4lue"
    given = text.replace("{}", secret)
    (data,) = run(op.redact([name]), events=[{"message": given}]).data
    assert secret not in data["message"], data
    assert "[redacted]" in data["message"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("token", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.SflKxwRJSMeKKF2QT4fwpM"),
        ("token", "ghp_" + "a1B2" * 9),
        ("token", "AKIAIOSFODNN7EXAMPLE"),
        ("token", "sk-" + "x" * 40),
        ("token", "xoxb-1234567890-abcdef"),
        ("key", "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----"),
        ("key", "-----BEGIN PRIVATE KEY-----\nMIIEcut off"),
        ("email", "first.last+tag@mail.example.com"),
        ("ip", "192.168.0.254"),
        ("ip", "2001:db8::8a2e:370:7334"),
        ("ip", "fe80::1"),
        ("ip", "::1"),
        ("ip", "1:2:3:4:5:6:7:8"),
    ],
)
def test_redact_takes_out(name: str, text: str) -> None:
    (data,) = run(op.redact([name]), events=[{"message": f"before {text} after"}]).data
    secret = "MIIE" if "PRIVATE" in text else text
    assert secret not in data["message"]
    assert data["message"].startswith("before ")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ip", "version 1.2.3.4.5"),
        ("ip", "at 12:30:59"),
        ("ip", "std::vector"),
        ("ip", "999.1.1.1"),
        ("email", "user@localhost"),
        ("token", "sk-short"),
        ("authorization", "the authorization was given"),
        ("authorization", "http://host:8080/a@b and ssh://git@host:22/x"),
        ("key", "a keyboard, a monkey=x"),
    ],
)
def test_redact_leaves(name: str, text: str) -> None:
    assert run(op.redact([name]), events=[{"message": text}]).data == [{"message": text}]


PIECES = [
    *(
        "authorization",
        "Authorization: Bearer ",
        "cookie: ",
        "Set-Cookie:",
        "x=1;",
        "eyJabcdefgh.abc",
        "ghp_" + "a" * 20,
    ),
    *(
        "gho_",
        "github_pat_" + "b" * 20,
        "glpat-" + "c" * 20,
        "xoxb-1234567890",
        "sk-" + "d" * 20,
        "AKIA" + "A1" * 8,
        "AIza",
    ),
    *(
        "npm_" + "e" * 36,
        "pypi-" + "f" * 50,
        "-----BEGIN PRIVATE KEY-----",
        "abc",
        "-----END",
        "password",
        "API_KEY",
        "token",
    ),
    *(":", "=", " ", "'", "a@b.example", "@", "10.0.0.1", "::1", "fe80:1:2:3:4:5:6:7", ".", "https://u:p@h/", "ſ", "K"),
]


@pytest.mark.slow
@given(text=st.lists(st.sampled_from(PIECES), max_size=8).map("".join))
@settings(deadline=None, max_examples=2_000)
def test_redact_passes_over_a_pattern_only_where_it_cannot_match(text: str) -> None:
    for name, pattern in PATTERNS.items():
        if not any(part in text for part in _NEEDED[name]):
            assert re.search(pattern, text) is None, name


def test_redact_remembers_names_for_itself_and_not_without_end() -> None:
    made = _Redaction(op.redact(["email"]))
    many = {"n" * 200: 1} | {f"user{number}@b.example": number for number in range(3_000)} | {"password": 2}
    for _ in range(2):
        data = made(many)
        assert [*data][1:3] == ["[redacted]", "[redacted]_2"]
        assert (data["password"], len(data)) == ("[redacted]", 3_002)
    assert len(made._names) == 1_000
    assert "n" * 200 not in made._names


def test_redact_looks_everywhere() -> None:
    record = {
        "deep": [{"more": ["x", {"mail": "a@b.example"}]}],
        "a@b.example": 1,
        "password": "x",
        "db.password": 7,
        "monkey": "x",
        "tokens": True,
        "none": None,
    }
    (data,) = run(op.redact(["email"]), events=[record]).data
    assert data == {
        "deep": [{"more": ["x", {"mail": "[redacted]"}]}],
        "[redacted]": 1,
        "password": "[redacted]",
        "db.password": "[redacted]",
        "monkey": "x",
        "tokens": True,
        "none": None,
    }


def test_redact_takes_all_that_is_in_a_secret() -> None:
    record = {
        "set-cookie": ["a=1", {"b": 2, "c": [True, None, 3.5]}],
        "authorization": {"scheme": "x", "password": "y"},
    }
    (data,) = run(op.redact(), events=[record]).data
    assert data == {
        "set-cookie": ["[redacted]", {"b": "[redacted]", "c": [True, None, "[redacted]"]}],
        "authorization": {"scheme": "[redacted]", "password": "[redacted]"},
    }
    assert run(op.redact(fields=False), events=[record]).data == [record]


def test_redact_loses_no_field_whose_name_was_a_secret() -> None:
    record = {"a@b.example": 1, "c@d.example": 2, "[redacted]": 3, "e@f.example": {"x": 4}}
    (data,) = run(op.redact("email"), events=[record]).data
    assert data == {"[redacted]": 1, "[redacted]_2": 2, "[redacted]_3": 3, "[redacted]_4": {"x": 4}}


def test_redact_by_hash_drop_and_patterns_of_ones_own() -> None:
    texts = [{"m": text} for text in ("a@b.example", "a@b.example", "c@d.example")]
    hashed = [one["m"] for one in run(op.redact("email", how="hash", salt="x"), events=texts).data]
    assert hashed[0] == hashed[1] != hashed[2]
    assert all(len(text) == 16 for text in hashed)
    assert run(op.redact("email", how="hash", salt="y"), events=texts).data[0]["m"] != hashed[0]
    assert run(op.redact("email", how="drop"), events=texts).data == [{"m": ""}] * 3
    own = op.redact([], also=r"user=(?P<secret>\w+)")
    assert run(own, events=[{"m": "user=bob x"}]).data == [{"m": "user=[redacted] x"}]
    for options in ({"how": "hash"}, {"also": "("}, {"also": "x*"}, {"salt": "x" * 65}, {"patterns": ["nothing"]}):
        with pytest.raises(rx.ConfigError):
            op.redact(**options)


def test_after_redact_the_line_is_gone_for_good() -> None:
    """Neither the sink nor a dead letter of what comes behind sees the line as it was read."""
    secret = "password=hunter2"
    result = run(op.parse("json"), op.redact(), op.filter("1 / n > 0"), lines=[f'{{"n": 0, "m": "{secret}"}}'])
    assert "hunter2" not in json.dumps(result.rejected)
    (out,) = run(op.parse("json"), op.redact(), lines=[f'{{"m": "{secret}"}}']).events
    assert out.raw is None
    assert b"hunter2" not in out.json()


json_values = st.recursive(
    st.text() | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


@given(json_values)
def test_redact_changes_nothing_but_secrets(value: Any) -> None:
    assert run(op.redact(["token"], fields=False), events=[{"v": value}]).data == [{"v": value}]


@pytest.mark.parametrize("text", ["a" * 200_000, "eyJ" * 50_000, ":" * 100_000, "1." * 100_000, "password=" * 20_000])
def test_redact_takes_no_time_for_hostile_texts(text: str) -> None:
    every = ["authorization", "cookie", "token", "key", "email", "ip"]
    began = time.process_time()
    run(op.redact(every), events=[{"m": text}])
    assert time.process_time() - began < 5


READ_AGAIN = [
    op.set(a="pid", b="pid + 1"),
    op.set(pid="pid * 10"),
    op.set(c="pid", pid="a"),
    op.filter("pid != None and c != None"),
    op.set(d="pid + c", e="uid"),
    op.rename(uid="pid"),
    op.set(f="pid", g="uid"),
    op.map(lambda event: event.data | {"pid": 7}),
    op.set(h="pid"),
    op.set(i="pid", j="h"),
]


@pytest.mark.parametrize("count", range(1, len(READ_AGAIN) + 1))
def test_a_field_that_is_read_again_has_its_latest_value(count: int) -> None:
    expected: dict[str, Any] = {"pid": 1, "uid": 5}
    steps: list[Callable[[dict[str, Any]], dict[str, Any]]] = [
        lambda d: d | {"a": d["pid"], "b": d["pid"] + 1},
        lambda d: d | {"pid": d["pid"] * 10},
        lambda d: d | {"c": d["pid"], "pid": d["a"]},
        lambda d: d,
        lambda d: d | {"d": d["pid"] + d["c"], "e": d["uid"]},
        lambda d: {name: value for name, value in d.items() if name not in ("uid", "pid")} | {"pid": d["uid"]},
        lambda d: d | {"f": d["pid"], "g": None},
        lambda d: d | {"pid": 7},
        lambda d: d | {"h": d["pid"]},
        lambda d: d | {"i": d["pid"], "j": d["h"]},
    ]
    for step in steps[:count]:
        expected = step(expected)
    (made,) = run(op.parse("json"), *READ_AGAIN[:count], lines=['{"pid":1,"uid":5}']).events
    assert made.data == expected


def test_a_field_that_is_read_again_is_held() -> None:
    steps = [
        Step(stage, stage.name) for stage in (op.parse("json"), *[op.set({f"x{n}": f"uid + {n}"}) for n in range(9)])
    ]
    assert compile_segment(steps, "lines").source.count("data.get('uid')") == 1


@pytest.mark.parametrize(
    "before",
    [
        [op.parse("json")],
        [op.parse("json"), op.filter("this")],
        [op.parse("json", on_error="keep_raw")],
        [op.parse("json"), op.set(pid="pid")],
        [op.parse("json"), op.map("this")],
    ],
)
@pytest.mark.parametrize("value", ["this", "default(this, 0)", "this if pid else 0"])
def test_a_payload_that_is_set_within_itself_is_as_it_was_before(before: list[Any], value: str) -> None:
    line = '{"pid":1,"a":"x"}'
    payload = {"pid": 1, "a": "x"}
    for fields in ({"a": value}, {"b": value}, {"b": value, "c": f"[{value}]", "pid": "2"}):
        wanted = payload | {name: [payload] if name == "c" else payload for name in fields}
        wanted |= {"pid": 2} if "pid" in fields else {}
        assert run(*before, op.set(fields), lines=[line]).data == [wanted]
    again = run(*before, op.set(b=value), op.set(c=value), op.drop("a"), lines=[line]).data
    assert again == [{"pid": 1, "b": payload, "c": payload | {"b": payload}}]
    given = dict(payload)
    assert run(op.set(b=value), events=[given]).data == [payload | {"b": payload}]
    assert given == payload
