"""The page is one file that needs nothing else, says what its tables say, and works in a browser.

The last tests need Debian's Chromium (`apt-get install chromium`): where there is none they fail, and say so.
"""

import json
import re
import shutil
import subprocess
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from certificate_rows import (
    BETTER,
    DECIDE,
    DECIDED,
    DENOISED,
    FACTS,
    PLAIN,
    A,
    B,
    counted,
    rows_of,
    run_of,
    sampled_run,
)
from manifests import manifest_of

from raysmooth.common.errors import RaysmoothError
from raysmooth.pipeline.report.page.context import CertifiedImage, PageContext, Shown
from raysmooth.pipeline.report.page.page import render_page
from raysmooth.pipeline.report.report import write_report
from raysmooth.pipeline.report.report_data import ReportData

HOSTILE = "</title><script>alert(1)</script><img src=http://evil.example/x onerror=alert(2)>{{ 7*7 }}\"'&"
VOID = {"meta", "link", "img", "br", "path", "circle", "line"}


class Page(HTMLParser):
    """A page's elements with their attributes, the text of each table's cells, and whether all elements are closed."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.tables, self.text, self._open = [], {}, "", []
        self.feed(text)
        self.close()
        assert self._open == [], f"never closed: {self._open}"

    def handle_starttag(self, tag, attributes):
        facts = dict(attributes)
        self.elements.append((tag, facts))
        if tag not in VOID and not (self.get_starttag_text() or "").endswith("/>"):
            self._open.append(tag)
        if tag == "table":
            self.table = self.tables.setdefault(facts.get("id", f"table {len(self.tables)}"), [])
        elif tag == "tr":
            self.table.append([])
        elif tag in ("td", "th") and "table" in self._open:
            self.table[-1].append("")
        elif tag == "small":
            self.table[-1][-1] += " | "

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        if tag in self._open and self._open[-1] == tag:
            self._open.pop()
        else:
            raise AssertionError(f"</{tag}> closes {self._open[-1:]}")

    def handle_data(self, data):
        self.text += data
        if self._open and {"td", "th"} & set(self._open):
            self.table[-1][-1] += data.strip()


def page_of(*runs, out=None, context=None, **options):
    return render_page(ReportData(pd.concat(runs, ignore_index=True), **options), out, {}, context=context)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """The page of two runs with their manifests."""
    out = tmp_path_factory.mktemp("results")
    for outcomes, facts in ((PLAIN, {}), (BETTER, {**DENOISED, "sigma": 0.5})):
        manifest = manifest_of(**{key: value for key, value in {**FACTS, **facts}.items() if key != "objective"})
        run = manifest["run_id"]
        manifest["settings"] |= {"seed": 0, "sigma": [0.25, 0.5]}
        manifest["started"] = "today"
        folder = out / "certificates" / f"run_id={run}"
        folder.mkdir(parents=True)
        rows = counted(pd.DataFrame(rows_of(outcomes, **facts)))
        pq.write_table(pa.Table.from_pandas(rows, preserve_index=False), folder / "part-0.parquet")
        home = out / "runs" / run
        home.mkdir(parents=True)
        (home / "manifest.json").write_text(json.dumps(manifest))
    return write_report(out, radii=[0, 0.25, 0.5])[-1]


def test_tables_say_what_they_say_elsewhere(file):
    page = Page(file.read_text())
    heading, first, second = page.tables["table-table"]
    assert heading[:6] == ["denoiser", "objective", "sigma", "r=0", "r=0.25", "r=0.5"]
    assert re.fullmatch(r"37\.5 \| [\d.]+ to [\d.]+", first[4])
    assert [cell.split(" | ")[0] for cell in second[:6]] == ["dncnn", "stab+mse", "0.5", "87.5", "62.5", "37.5"]
    assert page.tables["table-envelope"][2][-1].startswith("37.5 (87.5)")
    assert {f"table-{name}" for name in ("table", "envelope", "sigma", "radii", "p-lower", "classes", "cost")} <= set(
        page.tables
    )
    assert page.text.count("every 50th of 400 (8 images)") >= len(page.tables) - 3  # in each note, and above all
    for name in ("settings.seed", "identity.denoiser", "started"):
        assert name in page.text
    assert re.search(r"shared by all runs \(\d{2}\)", page.text)  # seed, sigma, started, and most of the identity


def test_nothing_is_fetched(file):
    text = file.read_text()
    assert not re.search(r"https?:|//[a-z]|@import|url\(", text)
    for tag, facts in Page(text).elements:
        assert tag not in ("iframe", "object", "embed", "base", "form")
        for name in ("src", "href", "action", "data", "xlink:href"):
            assert facts.get(name, "#").startswith(("#", "data:image/png;base64,")) or facts[name] == "data:,"
        assert not [name for name in facts if name.startswith("on")]


def test_what_a_user_calls_things_is_text(tmp_path):
    home = tmp_path / "runs" / A
    home.mkdir(parents=True)
    (home / "manifest.json").write_text(json.dumps({HOSTILE: HOSTILE, "list": [HOSTILE]}))
    hostile = dict.fromkeys(("dataset", "classifier", "denoiser", "objective", "index_set"), HOSTILE)
    text = page_of(
        run_of(A, **hostile), run_of(B, sigma=0.5, **hostile), run_of("c" * 16, **{**hostile, "n": 9}), out=tmp_path
    )
    page = Page(text)
    assert [tag for tag, _ in page.elements].count("script") == 1
    assert "img" not in {tag for tag, _ in page.elements}
    assert not re.search(r"<(script|img)[^>]*(alert|evil)", text)
    assert HOSTILE in page.text  # as it was written
    assert "49" not in re.findall(r"onerror=alert\(2\)&gt;(..)", text)


def image_of(words, **changes):
    """A certified image whose every text is `words`."""
    shown = Shown(b"\x89PNG", words, words, words, True, True)
    return replace(CertifiedImage(words, [[shown, None]], [(words, 7, 0.7)], words, words, words, words), **changes)


def test_what_a_caller_gives_is_text(tmp_path):
    context = PageContext(HOSTILE, [HOSTILE], HOSTILE, HOSTILE, lambda data, head: image_of(HOSTILE), [HOSTILE])
    text = page_of(run_of(A), out=tmp_path, context=context)
    page = Page(text)
    assert page.text.count(HOSTILE) >= 12
    assert [tag for tag, _ in page.elements].count("script") == 1
    (image,) = [facts for tag, facts in page.elements if tag == "img"]
    assert image["alt"] == HOSTILE
    assert image["src"] == "data:image/png;base64," + b64encode(b"\x89PNG").decode()
    assert not re.search(r"<(script|img)[^>]*(alert\(1|evil)", re.sub('alt="[^"]*"', "", text))


def test_the_page_opens_with_the_result_the_image_the_date_and_the_commands(file, tmp_path):
    opened = Page(file.read_text()).text
    assert "Of 8 digits images, 5 (62.5 %) provably cannot be misread" in " ".join(opened.split())
    assert re.search(r"Made on 20\d\d-\d\d-\d\d \d\d:\d\d UTC by raysmooth", opened)
    assert opened.count("raysmooth certify --skip 1 --seed 0 --sigma 0.25,0.5") == 1
    assert "no denoiser, sigma 0.25; STAB+MSE denoiser, sigma 0.5" in opened
    context = PageContext("A title", command="raysmooth report 'my results'", image=lambda data, head: image_of("a 7"))
    page = Page(page_of(run_of(A), out=tmp_path, context=context))
    assert "raysmooth report 'my results'" in page.text
    assert "Of the 3 certified images, that with the median radius." in page.text
    assert "not known" in page.text  # of a run without a manifest
    assert [facts["alt"] for tag, facts in page.elements if tag == "img"] == ["a 7"]


@pytest.mark.parametrize("kind", [RaysmoothError, RuntimeError, OSError])
def test_the_reason_for_a_missing_image_is_said(tmp_path, kind):
    def refuse(data, head):
        raise kind("the data are away")

    text = page_of(run_of(A), out=tmp_path, context=PageContext(image=refuse))
    assert "No certified image is shown: the data are away." in text
    nothing = page_of(run_of(A, [(-1, 0.0)] * 8), out=tmp_path, context=PageContext(image=refuse))
    assert "No image is shown, as none is certified at this radius." in nothing


def test_only_the_page_s_own_script_may_run(file):
    text = file.read_text()
    (script,) = re.findall("<script>(.*?)</script>", text, re.DOTALL)
    digest = b64encode(sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}';" in text
    assert "unsafe-inline'; script" not in text.replace("style-src 'unsafe-inline'; script", "")


def test_what_is_not_text_has_words_and_tables_have_captions(file):
    elements = Page(file.read_text()).elements
    for tag, facts in elements:
        if tag == "img":
            assert facts["alt"]
        if tag == "svg":
            assert facts.get("aria-label") or facts.get("aria-hidden") == "true"
    count = [tag for tag, _ in elements].count
    assert count("caption") == count("table") > 5
    ids = [facts["id"] for _, facts in elements if "id" in facts]
    assert len(ids) == len(set(ids))
    wanted = [facts["aria-describedby"] for _, facts in elements if "aria-describedby" in facts]
    assert wanted
    assert set(wanted) <= set(ids)
    links = [facts["href"][1:] for tag, facts in elements if tag == "a"]
    assert set(links) <= set(ids)


def luminance(colour):
    """Relative luminance by WCAG 2.2."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_text_stands_out_on_light_and_dark_pages(file):
    style = file.read_text().split("<style>")[1].split("</style>")[0]
    light, dark = style.split("@media screen and (prefers-color-scheme: dark)")
    for part in (light, dark.split("* { box-sizing")[0]):
        found = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})\b", part, re.IGNORECASE))
        colours = {
            name: value if len(value) == 7 else "#" + "".join(2 * c for c in value[1:]) for name, value in found.items()
        }
        grounds = {"page": ("ink", "soft", "link", "good", "bad"), "bar": ("ink",), "warn": ("ink",)}
        for ground, names in grounds.items():
            for name in names:
                pair = sorted([luminance(colours[name]), luminance(colours[ground])])
                assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 4.5, (name, ground)
        assert len({colours[f"c{number}"] for number in range(2)}) == 2
    assert "fill=" not in style


def test_a_run_without_a_manifest_says_so(tmp_path):
    (tmp_path / "runs" / A).mkdir(parents=True)
    (tmp_path / "runs" / A / "manifest.json").write_text("{cut off")
    text = page_of(run_of(A), run_of(B, sigma=0.5), out=tmp_path)
    assert text.count("no manifest") == 2


def test_what_these_runs_have_not_is_said(tmp_path):
    page = Page(page_of(sampled_run(A, DECIDE, DECIDED, label=None), out=tmp_path))
    assert "classes: no run has labels" in page.text
    assert "p-lower: no pA available" in page.text
    assert "table-p-lower" not in page.tables
    assert "marker" in [facts.get("class") for tag, facts in page.elements if tag == "path"]


def test_a_run_that_goes_on_and_one_of_errors_alone(tmp_path):
    page = Page(page_of(run_of(A, PLAIN[:3]), run_of(B, [(None, None)] * 8, sigma=0.5), out=tmp_path))
    assert "3 of 8" in page.text
    assert "(unfinished: 3 of 8)" in page.text


# In a browser.


def chromium(tmp_path, page, *flags):
    binary = shutil.which("chromium")
    if binary is None:
        pytest.fail("this test needs Debian's Chromium: apt-get install chromium")
    command = [
        binary, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
        "--disable-background-networking", "--disable-component-update", "--no-first-run", "--disable-sync",
        f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr", *flags, page.as_uri(),
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


def requested(log):
    """The addresses that pages asked for, by a browser's network log; what itself asks for has no origin."""
    events = [event.get("params", {}) for event in json.loads(log.read_text())["events"]]
    return {
        params["url"] for params in events if "url" in params and params.get("initiator") not in (None, "not an origin")
    }


@pytest.mark.processes
def test_it_opens_with_no_request_and_no_console_error(file, tmp_path):
    log, picture = tmp_path / "net.json", tmp_path / "page.png"
    done = chromium(tmp_path, file, f"--log-net-log={log}", f"--screenshot={picture}", "--window-size=1100,1400")
    assert "CONSOLE" not in done.stderr
    assert requested(log) == set()
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 20_000


@pytest.mark.processes
def test_the_check_sees_requests_and_console_errors(tmp_path):
    wrong = tmp_path / "wrong.html"
    wrong.write_text('<img src="http://127.0.0.1:9/x.png"><script>console.error("oh"); nothing()</script>')
    log = tmp_path / "net.json"
    done = chromium(tmp_path, wrong, f"--log-net-log={log}", f"--screenshot={tmp_path / 'page.png'}")
    assert done.stderr.count("CONSOLE") >= 2
    assert requested(log) == {"http://127.0.0.1:9/x.png"}


def with_script(file, script):
    """The page with a script at its end, which its policy would not let run."""
    policy = re.compile('<meta http-equiv="Content-Security-Policy"[^>]*>')
    return policy.sub("", file.read_text()).replace("</body>", f"<script>{script}</script></body>")


@pytest.mark.processes
def test_another_script_does_not_run(file, tmp_path):
    hostile = tmp_path / "hostile.html"
    hostile.write_text(file.read_text().replace("</body>", "<script>document.title = 'taken'</script></body>"))
    done = chromium(tmp_path, hostile, "--dump-dom")
    assert "<title>Certificates: digits</title>" in done.stdout


@pytest.mark.processes
def test_a_phone_shows_it_without_scrolling_sideways(file, tmp_path):
    """In a frame as wide as a phone, since a browser's own window may have a minimum width."""
    measure = "parent.postMessage(`${document.documentElement.scrollWidth} of ${innerWidth}`, '*')"
    framed = tmp_path / "framed.html"
    source = with_script(file, measure).replace("&", "&amp;").replace('"', "&quot;")
    framed.write_text(
        "<script>addEventListener('message', event => document.title = event.data)</script>"
        f'<iframe style="width: 380px; height: 900px; border: 0" srcdoc="{source}"></iframe>'
    )
    done = chromium(tmp_path, framed, "--dump-dom", "--virtual-time-budget=2000")
    assert re.search("<title>(.*?)</title>", done.stdout)[1] == "380 of 380"


@pytest.mark.processes
def test_print_keeps_rows_and_headings_together(file, tmp_path):
    """The rules that a browser applies, with those for paper in force."""
    asked = """
    const style = (selector, name) => getComputedStyle(document.querySelector(selector))[name];
    document.title = [style('h2', 'breakAfter'), style('.note', 'breakAfter'), style('tr', 'breakInside'),
      style('figure', 'breakInside'), style('thead', 'display'), style('nav', 'display')].join(' ');
    """
    printed = tmp_path / "printed.html"
    printed.write_text(with_script(file, asked).replace("@media print", "@media all"))
    done = chromium(tmp_path, printed, "--dump-dom")
    assert re.search("<title>(.*?)</title>", done.stdout)[1] == "avoid avoid avoid avoid table-header-group none"


@pytest.mark.processes
def test_a_click_on_a_heading_sorts_the_rows(file, tmp_path):
    clicks = """
    const heads = [...document.querySelectorAll('#table-radii th button')];
    const column = place => [...document.querySelectorAll(`#table-radii tbody td:nth-child(${place})`)]
      .map(cell => cell.firstChild.textContent).join(' ');
    const seen = [];
    for (const [place, times] of [[1, 1], [1, 1], [3, 1], [3, 1]])
      { heads[place - 1].click(); seen.push(column(place)); }
    document.title = seen.join('; ');
    """
    clicked = tmp_path / "clicked.html"
    clicked.write_text(with_script(file, clicks))
    done = chromium(tmp_path, clicked, "--dump-dom")
    title = re.search(r"<title>(.*?)</title>", done.stdout, re.DOTALL)
    assert title is not None
    # Words from a to z, then back; numbers from the largest, then back.
    assert title[1] == "dncnn none; none dncnn; 0.5 0.25; 0.25 0.5"
