"""The text of /metrics, and everything that builds on it: the alerts, the dashboard and their documentation."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import structs
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from chatserver.net.counts import ENDINGS, OTHER
from chatserver.net.limits.admission import REFUSALS
from chatserver.operation.monitoring.counters import FATES, BusNumbers
from chatserver.operation.monitoring.metrics import Situation, exposition
from chatserver.pipeline.outcomes import BROKEN, OK
from chatserver.store.db.threads import ERRORS
from chatserver.values.errors import ErrorWord
from tests.support.hall import Hall
from tests.support.observed import seen

ROOT = Path(__file__).resolve().parents[2]
ALERTS = ROOT / "deploy" / "alerts.yml"
ALERT_TESTS = ROOT / "tests" / "operation" / "alerts.test.yml"
DASHBOARD = ROOT / "deploy" / "grafana.json"
WELL = Situation(ready=True, unanswered_seconds=0.5, connections_limit=20_000, passwords_limit=1024)
PROMETHEUS_S_OWN = {"up"}
needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")


BUS = BusNumbers(
    nodes=2, connected=True, lag=0.004, reconnects=1, frames=dict.fromkeys(FATES, 7), gaps=3, bytes_sent=700,
    bytes_received=1400, entries={"bus": 70, "store": 4},
)  # fmt: skip


def text_of(hall: Hall, bus: BusNumbers | None = BUS) -> str:
    return exposition(structs.replace(seen(hall), bus=bus), WELL).decode()


def families(text: str) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(text)}


def names(text: str) -> set[str]:
    """The names of all series and of the metrics that they belong to."""
    found = set()
    for family in families(text).values():
        found.add(f"{family.name}_total" if family.type == "counter" else family.name)
        found |= {sample.name for sample in family.samples}
    return found


@pytest.fixture
def busy(hall: Hall) -> Hall:
    """A hall in which something of everything has happened."""
    ana = hall.program("ana-the-user")
    hall.client().type("bob-the-user", "yes", "s3cret-words", "s3cret-words").type("hello everybody")
    ana.post("create", room="room-of-ana").say("a text", room="room-of-ana").post("nonsense")
    hall.browser().upgrade().come_in("carla-the-user").post("quit")
    ana.say("x" * 10_000)
    return hall


@needs_promtool
def test_promtool_finds_nothing_wrong(busy: Hall) -> None:
    """Names, types and help texts are as Prometheus wants them."""
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text_of(busy), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_labels_have_few_values(busy: Hall) -> None:
    """Label values are from fixed sets: nothing that a user, a room, an address or a text is called ever is one."""
    text = text_of(busy)
    for secret in ("-the-user", "room-of", "hello", "s3cret", "local"):
        assert secret not in text, secret
    allowed = {
        "stage": 9, "dialect": 2, "door": 4, "reason": len(ENDINGS | {OTHER, *REFUSALS, *ERRORS}), "kind": 60,
        "outcome": len({OK, BROKEN, *ErrorWord}), "error": len(ErrorWord), "lane": 2, "pool": 2, "way": 4, "le": 40,
        "version": 1, "python": 1, "endpoint": 10, "fate": len(FATES),
    }  # fmt: skip
    values: dict[str, set[str]] = {}
    for family in families(text).values():
        for sample in family.samples:
            for label, value in sample.labels.items():
                values.setdefault(label, set()).add(value)
    assert set(values) <= set(allowed)
    assert {label: len(found) for label, found in values.items() if len(found) > allowed[label]} == {}


def test_series_do_not_come_and_go(hall: Hall) -> None:
    """Whatever can be counted is there as 0 from the beginning, but for refusals of single kinds of commands."""

    def series(text: str) -> set[tuple[str, tuple[tuple[str, str], ...]]]:
        return {
            (sample.name, tuple(sorted(sample.labels.items())))
            for family in families(text).values()
            for sample in family.samples
            if sample.labels.get("outcome", OK) in (OK, BROKEN)
        }

    before = series(text_of(hall))
    ana = hall.program("ana")
    ana.say("hello").post("nonsense").post("quit")
    hall.browser().upgrade().come_in("bob").cut()
    assert series(text_of(hall)) == before


def test_without_a_bus_there_is_nothing_about_it(hall: Hall) -> None:
    """A server without a bus has no metrics of one; with one, what it has done is told."""
    assert seen(hall).bus is None
    assert not [name for name in families(text_of(hall, None)) if "_bus_" in name or "_nodes" in name]
    found = families(text_of(hall))
    assert {sample.labels["way"]: sample.value for sample in found["chatserver_bus_entries"].samples} == BUS.entries
    assert found["chatserver_other_nodes"].samples[0].value == 2


def test_histograms_are_cumulative(busy: Hall) -> None:
    """Each bucket counts all values below its bound, the last one all values, and the sum is theirs."""
    samples = families(text_of(busy))["chatserver_take_messages"].samples
    buckets = [(sample.labels["le"], sample.value) for sample in samples if sample.name.endswith("_bucket")]
    assert buckets[0] == ("1.0", 2.0)
    assert buckets[-1] == ("+Inf", 2.0)
    assert [value for _, value in buckets] == sorted(value for _, value in buckets)
    assert {sample.name: sample.value for sample in samples if not sample.labels} == {
        "chatserver_take_messages_count": 2.0,
        "chatserver_take_messages_sum": 2.0,
    }


def test_the_process_is_described(hall: Hall) -> None:
    """Prometheus' usual metrics of a process are there, and what runs it."""
    found = families(text_of(hall))
    assert {"process_cpu_seconds", "process_resident_memory_bytes", "process_open_fds"} <= set(found)
    (info,) = found["chatserver_build_info"].samples
    assert set(info.labels) == {"version", "python"}


# What builds on it


def used(text: str) -> set[str]:
    """The metrics in an expression."""
    words = re.sub(r"\{[^}]*\}|\[[^\]]*\]|by \([^)]*\)|without \([^)]*\)", " ", text)
    return {
        word for word in re.findall(r"[a-z_]+(?![a-z_(])", words) if word.startswith(("chatserver_", "process_", "up"))
    }


def expressions() -> Iterator[tuple[str, str]]:
    """Where an expression is, and what it says."""
    yield from re.findall(r"- alert: (\w+)\n +expr: (.*?)\n +(?:for|labels):", ALERTS.read_text("utf-8"), re.S)
    dashboard = json.loads(DASHBOARD.read_text("utf-8"))
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for annotation in dashboard["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], re.sub(r"label_values\((\w+), \w+\)", r"\1", variable["query"]["query"])


def test_alerts_and_dashboard_use_what_is_there(busy: Hall) -> None:
    """Every metric in an alert or a panel is one that the server exports, and every expression has one."""
    there = names(text_of(busy)) | PROMETHEUS_S_OWN
    checked = 0
    for where, expression in expressions():
        metrics = used(expression)
        assert metrics, where
        assert metrics <= there, where
        checked += 1
    assert checked > 50


def test_every_metric_is_documented(busy: Hall) -> None:
    """The table has each of the server's metrics with its type and labels, and no other one."""
    page = (ROOT / "docs" / "monitoring.md").read_text("utf-8")
    rows = re.findall(r"^\| `(chatserver_\w+)` \| (\w+) \|([^|]*)\| [^|]+ \|$", page, re.MULTILINE)
    told = {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    assert len(told) == len(rows)
    there = {}
    for family in families(text_of(busy)).values():
        if family.name.startswith("chatserver_"):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            labels = {label for sample in family.samples for label in sample.labels} - {"le"}
            there[name] = (family.type, labels)
    there["chatserver_certificate_expiry_timestamp_seconds"] = ("gauge", {"endpoint"})  # where there are certificates
    assert told == there


@needs_promtool
def test_promtool_accepts_the_rules() -> None:
    """The alerts are valid, and so is the configuration that names them."""
    done = subprocess.run(
        ["promtool", "check", "rules", "--lint=all", "--lint-fatal", str(ALERTS)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_promtool_accepts_the_configuration(tmp_path: Path) -> None:
    """prometheus.yml with the alerts beside it is valid."""
    text = (ROOT / "deploy" / "prometheus.yml").read_text("utf-8")
    assert "/etc/prometheus/chatserver-alerts.yml" in text
    config = tmp_path / "prometheus.yml"
    config.write_text(text.replace("/etc/prometheus/chatserver-alerts.yml", str(ALERTS)), "utf-8")
    done = subprocess.run(
        ["promtool", "check", "config", "--lint-fatal", str(config)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_every_alert_fires() -> None:
    """For each alert there is a server for which it fires, and one for which it does not."""
    done = subprocess.run(["promtool", "test", "rules", str(ALERT_TESTS)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested_and_says_what_to_do() -> None:
    """Each alert has a test in which it fires, a summary, a description and a severity, and is in the documentation."""
    text = ALERTS.read_text("utf-8")
    alerts = re.findall(r"- alert: (\w+)\n(.*?)(?=\n\n|\Z)", text, re.S)
    assert len(alerts) == text.count("- alert:") > 10
    tested = set(re.findall(r'alertname="(\w+)"', ALERT_TESTS.read_text("utf-8")))
    page = (ROOT / "docs" / "monitoring.md").read_text("utf-8")
    for name, rest in alerts:
        assert name in tested
        assert re.search(r"severity: (critical|warning)\n", rest), name
        assert "{{ $labels.instance }}" in re.search(r'summary: "(.*)"', rest)[1], name  # type: ignore[index]
        assert len(rest.partition("description: >-")[2]) > 100, name
        assert f"| `{name}` |" in page
    assert tested == {name for name, _ in alerts}


def test_the_dashboard_is_one_that_grafana_imports() -> None:
    """It has what Grafana's model of a dashboard needs; panels do not overlap, and all use the chosen data source."""
    dashboard = json.loads(DASHBOARD.read_text("utf-8"))
    assert dashboard["schemaVersion"] >= 36
    assert {"title", "uid", "tags", "time", "refresh", "templating", "annotations", "panels"} <= set(dashboard)
    assert "id" not in dashboard  # of another Grafana
    assert [variable["name"] for variable in dashboard["templating"]["list"]] == ["datasource", "instance"]
    taken: set[tuple[int, int]] = set()
    ids = set()
    for panel in dashboard["panels"]:
        ids.add(panel["id"])
        assert panel["type"] in ("stat", "timeseries")
        assert panel["title"]
        assert panel["description"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert all(x < 24 for x, _ in cells)
        taken |= cells
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        for target in panel["targets"]:
            assert '{instance=~"$instance"' in target["expr"]
    assert len(ids) == len(dashboard["panels"])
