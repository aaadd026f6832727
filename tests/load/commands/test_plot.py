from __future__ import annotations

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from ctrlserver.console.interrupts import Interrupts
from ctrlserver.load.commands import group as commands
from ctrlserver.load.show.chart_page import page
from ctrlserver.load.show.chart_picture import picture
from ctrlserver.load.show.charts import charts
from tests.load.documents import changed
from tests.load.show.test_charts import BLIND, CLOSED, OPEN
from tests.load.show.test_search_charts import TIMED

NASTY = "</script><script>alert(1)</script><!--&\"'$x_1$"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, document in (("open", OPEN), ("closed", CLOSED), ("blind", BLIND)):
        (tmp_path / f"{name}.json").write_text(json.dumps(document))
    return tmp_path


def told(capsys: pytest.CaptureFixture[str], words: str) -> tuple[int, str, str]:
    code = commands.exit_code(["plot", *words.split()], Interrupts())
    captured = capsys.readouterr()
    return code, captured.out, captured.err


class Reader(HTMLParser):
    """The elements of a page, and what its scripts hold."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.numbers: list[Any] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert [] == self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag != "meta":
            self._open.append("json" if dict(attrs).get("type") == "application/json" else tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert tag in (self._open.pop(), "script")

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "json":
            self.numbers.append(json.loads(data))
        self.words.append(data)


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("words", ["open.json", "closed.json", "open.json closed.json blind.json"])
@pytest.mark.parametrize("kind", ["html", "png", "svg"])
def test_results_are_drawn(capsys: pytest.CaptureFixture[str], files: Path, words: str, kind: str) -> None:
    code, out, err = told(capsys, f"{words} -o out.{kind}")
    assert (0, "") == (code, out)
    assert err.count("\n") == (2 if "blind" in words else 0)
    content = (files / f"out.{kind}").read_bytes()
    if kind == "png":
        assert content.startswith(b"\x89PNG\r\n")
    elif kind == "svg":
        assert "{http://www.w3.org/2000/svg}svg" == ElementTree.fromstring(content).tag
    else:
        assert 3 == len(Reader(content.decode()).numbers)


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("kind", ["html", "png", "svg"])
def test_a_search_is_drawn(capsys: pytest.CaptureFixture[str], files: Path, kind: str) -> None:
    document = {"schema": "ctrlload-search/1", "target": "x", "highest_packets_per_second": 2000, **TIMED}
    (files / "search.json").write_text(json.dumps({**document, "lower_bound": True}))
    assert (0, "", "") == told(capsys, f"search.json -o out.{kind}")
    if kind == "html":
        reader = Reader((files / "out.html").read_text())
        assert ["1000 packets/s asked for", "1.000 ms"] == reader.numbers[0]["series"][0]["points"][0][2:]
        assert "at least 2000/s" in reader.words


def test_the_page_needs_nothing_from_elsewhere() -> None:
    text = page([("a", OPEN)], charts([("a", OPEN)]))
    for tag, attributes in Reader(text).elements:
        assert tag not in ("link", "img", "iframe", "object", "image", "use")
        assert not {"src", "href"} & set(attributes)
    assert {"http://www.w3.org/2000/svg"} == set(re.findall(r"https?://[^\s\"'<)]+", text))
    assert "url(" not in text
    assert "@import" not in text


def test_the_page_shows_values_under_the_pointer() -> None:
    rate, times, tail = Reader(page([("a", OPEN)], charts([("a", OPEN)]))).numbers
    assert ["achieved", "target"] == [one["name"] for one in rate["series"]]
    assert ["0.00 to 0.50 s", "100/s"] == rate["series"][0]["points"][0][2:]
    assert ["1.50 to 2.00 s", "300.0 ms"] == times["series"][0]["points"][-1][2:]
    assert ["99.50 %", "300.0 ms"] == tail["series"][0]["points"][-1][2:]


def test_the_page_draws_each_chart_for_a_phone_too() -> None:
    text = page([("a", OPEN)], charts([("a", OPEN)]))
    drawings = [attributes for tag, attributes in Reader(text).elements if tag == "svg" and "data-axes" in attributes]
    assert 3 * ["0 0 960 300", "0 0 380 260"] == [drawing["viewbox"] for drawing in drawings]
    assert "@media (max-width: 600px)" in text
    for drawing in text.split('<div class="slim">')[1:]:
        labels = re.findall(r'<text x="([\d.]+)" y="234" text-anchor="middle">([^<]*)', drawing.partition("</svg>")[0])
        ends = [(float(x) - 3.5 * len(label), float(x) + 3.5 * len(label)) for x, label in labels]
        assert len(labels) >= 3
        assert all(end < start for (_, end), (start, _) in pairwise(ends))
        assert all(0 <= start and end <= 380 + 8 for start, end in ends)


def test_shards_are_named_in_title_and_legend_and_what_they_were_merged_into_says_how_many(files: Path) -> None:
    for name, part in (("2", {"shard": {"index": 2, "of": 4}}), ("all", {"merged": {"of": 4, "missing": [3]}})):
        (files / f"{name}.json").write_text(json.dumps({**OPEN, **part}))
    assert 0 == commands.exit_code(["plot", "2.json", "all.json", "open.json", "-o", "page.html"], Interrupts())
    text = (files / "page.html").read_text()
    names = "2.json (shard 2 of 4)", "all.json (3 of 4 shards, without 3)", "open.json"
    assert f"ctrlload: {', '.join(names)}" in text
    assert all(text.count(name) > 4 for name in names)  # in legends and the table, too


def test_a_long_name_is_told_without_its_middle(capsys: pytest.CaptureFixture[str], files: Path) -> None:
    names = [f"{'long-' * 24}{end}.json" for end in ("a", "b")]
    for name in names:
        (files / name).write_text(json.dumps(OPEN))
    assert 0 == told(capsys, f"{' '.join(names)} open.json -o out.html")[0]
    numbers = Reader((files / "out.html").read_text()).numbers
    told_names = [one["name"] for one in numbers[0]["series"]][:3]
    assert [51, 51, 9] == [len(name) for name in told_names]
    assert [("long-", "a.json"), ("long-", "b.json")] == [(name[:5], name[-6:]) for name in told_names[:2]]
    assert 3 == len(set(told_names))


def test_long_names_that_are_alike_are_numbered(capsys: pytest.CaptureFixture[str], files: Path) -> None:
    names = [f"{'a' * 40}{middle}{'b' * 40}.json" for middle in ("x", "y")]
    for name in names:
        (files / name).write_text(json.dumps(OPEN))
    assert 0 == told(capsys, f"{' '.join(names)} -o out.html")[0]
    series = Reader((files / "out.html").read_text()).numbers[0]["series"]
    assert ["1: aaaa", "2: aaaa"] == [one["name"][:7] for one in series[:2]]


def test_a_long_name_takes_nothing_of_the_charts_width(monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure

    widths: list[float] = []
    save = Figure.savefig

    def measured(figure: Any, *given: Any, **named: Any) -> None:
        save(figure, *given, **named)
        widths.append(figure.axes[0].get_position().width)

    monkeypatch.setattr(Figure, "savefig", measured)
    for name in ("a", 5 * "long-name-"):
        results = [(f"{at}{name}", OPEN) for at in range(4)]
        picture([name for name, _ in results], charts(results), "png")
    assert pytest.approx(widths[0], rel=0.02) == widths[1]
    assert widths[1] > 0.8


def test_the_page_tells_what_came_out_and_marks_what_is_bad() -> None:
    bad = changed(OPEN, error="no progress", schedule={"bottleneck": "generator"})
    text = page([("a", OPEN), ("b", bad)], charts([("a", OPEN), ("b", bad)]))
    assert '<td>good</td><td class="bad">failed: no progress</td>' in text
    assert '<td class="bad">generator</td>' in text
    assert "prefers-color-scheme: dark" in text


@pytest.mark.parametrize("kind", ["html", "png", "svg"])
def test_nothing_of_a_result_is_taken_for_markup(capsys: pytest.CaptureFixture[str], files: Path, kind: str) -> None:
    nasty = changed(OPEN, target=NASTY, labels={NASTY: NASTY}, error=NASTY, options__framing=NASTY, started=NASTY)
    name = NASTY.replace("/", "") + ".json"
    for file in (name, f"2{name}"):
        (files / file).write_text(json.dumps(nasty))
    assert 0 == commands.exit_code(["plot", name, f"2{name}", "-o", f"out.{kind}"], Interrupts())
    assert "" == capsys.readouterr().err
    if kind == "html":
        reader = Reader((files / "out.html").read_text())
        assert 4 == [tag for tag, _ in reader.elements].count("script")
        assert name in reader.numbers[0]["series"][0]["name"]
        assert NASTY in reader.words


def test_a_name_of_a_file_has_no_control_character_on_the_page(capsys: pytest.CaptureFixture[str], files: Path) -> None:
    for folder in ("x", "y"):
        (files / folder).mkdir()
        (files / folder / "\x1b[31m\u202e\x9bx.json").write_text(json.dumps(OPEN))
    for names in ("x/\x1b[31m\u202e\x9bx.json open.json", "x/\x1b[31m\u202e\x9bx.json y/\x1b[31m\u202e\x9bx.json"):
        assert 0 == told(capsys, f"{names} -o out.html")[0]
        assert (files / "out.html").read_text().replace("\n", "").isprintable()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("-o x.html", "RESULT.json is missing"),
        ("open.json", "--output is missing: expected -o and a name that ends in .html, .png or .svg"),
        ("open.json -o x.pgn", 'expected a name that ends in .html, .png or .svg; did you mean ".png"?'),
        ("open.json -o x", "ends in .html, .png or .svg"),
        ("open.json -o none/x.png", "--output: there is no directory none"),
        ("open.json -o copy.html", "--output: copy.html is one of the results"),
        ("none.json -o x.html", "none.json: cannot be read"),
        ("text.txt -o x.html", "text.txt: no result of ctrlload"),
        ("empty.json -o x.html", "empty.json: nothing to draw: no rate over time"),
        ("open.json open.json -o x.html", "open.json: given twice"),
        ("open.json search.json -o x.html", "search.json: the document of a search; expected searches alone"),
        ("odd.json -o x.html", 'odd.json: no result of ctrlload: "steps" is missing or of another type'),
        ("open.json --out x.html", 'did you mean "--output"?'),
    ],
)
def test_what_cannot_be_drawn_is_one_line_and_exit_2(
    capsys: pytest.CaptureFixture[str], files: Path, words: str, message: str
) -> None:
    (files / "text.txt").write_text("hello")
    search = {"schema": "ctrlload-search/1", "target": "x", **TIMED}
    (files / "search.json").write_text(json.dumps(search))
    (files / "odd.json").write_text(json.dumps({**search, "steps": None}))
    (files / "empty.json").write_text(json.dumps(changed(OPEN, latency=None, intervals=[])))
    (files / "copy.html").symlink_to("open.json")
    before = sorted(path.name for path in files.iterdir())
    code, out, err = told(capsys, words)
    assert (2, "", 1) == (code, out, err.count("\n"))
    assert message in err
    assert before == sorted(path.name for path in files.iterdir())


@pytest.mark.usefixtures("files")
def test_without_matplotlib_a_picture_is_one_line_and_a_page_is_made(files: Path) -> None:
    without = "import sys; sys.modules['matplotlib'] = None; from ctrlserver.load.cli import main; main()"
    for name, code in (("out.png", 2), ("out.html", 0)):
        done = subprocess.run(
            [sys.executable, "-c", without, "plot", "open.json", "-o", name], capture_output=True, text=True, timeout=99
        )
        assert code == done.returncode, done.stderr
        words = "PNG and SVG need matplotlib: pip install matplotlib; -o FILE.html needs nothing"
        assert (f"ctrlload: --output: {words}\n" if code else "") == done.stderr
    assert (files / "out.html").exists()
