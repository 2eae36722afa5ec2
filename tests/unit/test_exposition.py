"""Figures in the formats that Prometheus reads, read back by its own parsers."""

import asyncio

import pytest
from prometheus_client.openmetrics import parser as open_metrics
from prometheus_client.parser import text_string_to_metric_families

from flowd.api.metrics import families
from flowd.api.metrics.exposition import OPEN_METRICS, SAMPLES_AT_ONCE, TEXT, Exposition, slices
from flowd.api.metrics.family import Family, Measured, Sample, one
from flowd.domain.tallies import Histogram

HOSTILE = 'a"b\\c\nd{e="f"} 1 ü'


def figures(count: int) -> list[Measured]:
    lag = Histogram((0.5, 1))
    lag.add(0.7)
    return [
        one(families.EVENTS, 3),
        one(families.LOOP_LAG, lag),
        Measured(families.MATCHES, [((f"flow {number}",), number) for number in range(count)]),
        Measured(families.ENDS, [((HOSTILE, "failed", "exit"), 2)]),
        Measured(families.HTTP_TIME, []),
    ]


def written(measured: list[Measured], accept: str = "") -> tuple[str, str]:
    text, kind = asyncio.run(Exposition().text(measured, accept=accept))
    return text.decode(), kind


def samples(measured: list[Measured]) -> set[tuple[str, tuple[tuple[str, str], ...], float]]:
    return {key(sample) for each in measured for sample in each.samples()}


def key(sample: Sample) -> tuple[str, tuple[tuple[str, str], ...], float]:
    return sample.name, tuple(sorted(sample.labels.items())), float(sample.value)


def test_prometheus_reads_what_was_measured() -> None:
    measured = figures(2 * SAMPLES_AT_ONCE + 1)
    text, kind = written(measured)
    read = list(text_string_to_metric_families(text))
    assert kind == TEXT
    assert {key(sample) for family in read for sample in family.samples} == samples(measured)
    assert {family.name for family in read} >= {"flowd_events", "flowd_loop_lag_seconds", "flowd_http_request_seconds"}


@pytest.mark.parametrize(
    "accept",
    ["application/openmetrics-text", "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3"],
)
def test_who_asks_for_open_metrics_gets_them(accept: str) -> None:
    measured = figures(2 * SAMPLES_AT_ONCE + 1)
    text, kind = written(measured, accept)
    read = list(open_metrics.text_string_to_metric_families(text))
    assert kind == OPEN_METRICS
    assert {key(sample) for family in read for sample in family.samples} == samples(measured)
    assert text.endswith("\n# EOF\n")
    assert text.count("# EOF") == 1


@pytest.mark.parametrize("accept", ["", "*/*", "text/html", "text/plain;version=x", "application/openmetrics-tex"])
def test_everybody_else_gets_the_text_format(accept: str) -> None:
    assert written(figures(1), accept) == written(figures(1))


def test_each_family_is_introduced_once_and_in_one_piece() -> None:
    text, _ = written(figures(5 * SAMPLES_AT_ONCE))
    introduced = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert introduced == [each.family.name for each in figures(1)]


def test_others_have_their_turn_after_so_many_numbers() -> None:
    async def use() -> tuple[int, int]:
        turns, is_over = 0, False

        async def other() -> None:
            nonlocal turns
            while not is_over:
                turns += 1
                await asyncio.sleep(0)

        exposition = Exposition()
        await exposition.text([], accept="")
        task = asyncio.create_task(other())
        await asyncio.sleep(0)
        before = turns
        await exposition.text(measured, accept="")
        during, is_over = turns - before, True
        await task
        return during, len(list(slices(measured)))

    measured = [Measured(families.MATCHES, [((f"f{number}",), 1) for number in range(1000)])]
    during, parts = asyncio.run(use())
    assert parts == 1000 / SAMPLES_AT_ONCE
    assert during >= parts
    assert all(len(part) <= SAMPLES_AT_ONCE for _, part, _ in slices(measured))


def test_families_are_named_as_prometheus_wants_it() -> None:
    names = [family.name for family in families.ALL]
    assert len(names) == len(set(names))
    for family in families.ALL:
        assert family.name.startswith("flowd_")
        assert family.name.endswith("_total") == (family.kind == "counter"), family
        assert family.about.endswith("."), family


def test_the_flow_is_a_label_of_counters_only() -> None:
    with_flow = [family for family in families.ALL if "flow" in family.labels]
    assert {family.kind for family in with_flow} == {"counter"}


def test_a_label_too_few_is_an_error_and_no_silent_loss() -> None:
    with pytest.raises(ValueError, match="zip"):
        list(Measured(Family("x", "gauge", "", ("a", "b")), [(("1",), 1)]).samples())
