import pytest
from prometheus_client.parser import text_string_to_metric_families

from netd.metrics import Counts, Metrics


def scraped(metrics: Metrics) -> dict[tuple[str, tuple[str, ...]], float]:
    page, content_type = metrics.render()
    assert content_type.startswith("text/plain")
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }  # fmt: skip


def test_counting_is_plain_and_shows_at_the_scrape():
    metrics = Metrics("1.2.3")
    drops = metrics.counter("netd_radius_drops", "Packets dropped", ("nas", "reason"))
    replies = metrics.counter("netd_radius_replies", "Replies", ("code",))
    total = metrics.counter("netd_radius_requests", "Requests")
    assert isinstance(drops, Counts)
    assert drops["bras1", "forged"] == 0 and not drops
    drops["bras1", "forged"] += 1
    drops["bras1", "forged"] += 1
    drops['b"2\n', "\udcff"] += 1
    replies["accept"] += 3
    seen = scraped(metrics)
    assert seen["netd_radius_drops_total", ("bras1", "forged")] == 2
    assert seen["netd_radius_drops_total", ('b"2\n', "\\udcff")] == 1
    assert seen["netd_radius_replies_total", ("accept",)] == 3
    assert seen["netd_radius_requests_total", ()] == 0
    total[()] += 5
    assert scraped(metrics)["netd_radius_requests_total", ()] == 5


def test_gauges_and_foreign_counters_are_read_at_the_scrape():
    metrics = Metrics("1")
    parts = {"store": 1.0}
    metrics.gauge("netd_part_up", "Parts", lambda: parts, ("part",))
    metrics.gauge("netd_sessions", "Open sessions", lambda: 7)
    metrics.counter_of("netd_log_dropped", "Log records lost", lambda: 2)
    assert scraped(metrics)["netd_part_up", ("store",)] == 1
    parts["store"] = 0
    seen = scraped(metrics)
    assert (seen["netd_part_up", ("store",)], seen["netd_sessions", ()], seen["netd_log_dropped_total", ()]) == (0, 7, 2)


def test_process_and_build():
    clock = [100.0]
    metrics = Metrics("1.2.3", lambda: clock[0])
    clock[0] = 160.5
    seen = scraped(metrics)
    assert seen["netd_uptime_seconds", ()] == 60.5
    for name in ("process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds", "process_start_time_seconds"):
        assert seen[name, ()] > 0
    assert 'version="1.2.3"' in metrics.render()[0].decode()


def test_one_series_that_cannot_be_read_hides_no_other(caplog):
    metrics = Metrics("1")
    metrics.gauge("netd_broken", "x", lambda: 1 / 0)
    metrics.gauge("netd_unfit", "x", lambda: {("a", "b"): 1.0}, ("one",))
    metrics.gauge("netd_fine", "x", lambda: 1)
    seen = scraped(metrics)
    assert seen["netd_fine", ()] == 1 and ("netd_broken", ()) not in seen
    seen = scraped(metrics)
    assert seen["netd_scrape_errors_total", ("netd_broken",)] >= 1
    assert seen["netd_scrape_errors_total", ("netd_unfit",)] >= 1
    assert "a metric cannot be read" in caplog.text


def test_names():
    metrics = Metrics("1")
    metrics.counter("netd_x", "x")
    with pytest.raises(ValueError, match="netd_x already"):
        metrics.counter("netd_x", "x")
    with pytest.raises(ValueError, match="metric name"):
        metrics.gauge("", "x", lambda: 1)
    Metrics("1").counter("netd_x", "x")  # another registry: nothing is global


def test_openmetrics_where_asked_for():
    page, content_type = Metrics("1").render("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert page.endswith(b"# EOF\n")


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text; version=1.0.0"])
def test_a_long_page_comes_in_pieces_and_reads_the_same(accept, monkeypatch):
    """Thousands of NAS make a page of a tenth of a second, which no log-in may wait for."""
    metrics = Metrics("1", lambda: 0.0)
    counts = {(f"bras{number}", reason): number for number in range(500) for reason in ("forged", "stale")}
    metrics.counter_of("netd_drops", "Packets\ndropped", lambda: counts, ("nas", "reason"))
    metrics.gauge("netd_up", "Whether it is up", lambda: {f"bras{number}": 1 for number in range(450)}, ("nas",))
    pieces, content_type = metrics.pieces(accept)
    own = list(pieces)[:-1]
    assert max(piece.count(b"\n") for piece in own) <= 103
    monkeypatch.setattr("netd.metrics.SERIES_AT_ONCE", 1_000_000)
    whole, same_type = metrics.pieces(accept)
    assert (b"".join(own), content_type) == (b"".join(list(whole)[:-1]), same_type)
    assert metrics.render(accept)[0].endswith(b"# EOF\n") is bool(accept)
