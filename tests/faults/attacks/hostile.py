"""Put hostile text wherever a page, a figure or a message shows what a file says."""

import io
import json
import re
import shutil
from contextlib import redirect_stderr, redirect_stdout
from html.parser import HTMLParser
from itertools import cycle, islice
from pathlib import Path

from attacks import Outcome, people

STRINGS = {
    "script": "<script>alert(1)</script>",
    "closing tags": "</style></td></table></svg></script><script>alert(2)</script>",
    "event": '"><img src=x onerror="alert(3)">',
    "single quotes": "' onmouseover='alert(4)' x='",
    "link": "javascript:alert(5)",
    "template": "{{ 7 * 7 }}{% for x in ().__class__ %}",
    "open formula": r"$\alpha_{1$",
    "formula": r"$\frac{1}{0}$ and $$",
    "dollar": "costs $5",
    "control": "a\x1b[31mred\x07\x08b\x00c",
    "right to left": "\u202egpj.exe\u202c\u200f\u2066x",
    "entity": "&lt;b&gt;&#0;&nosuch;<!--",
    "cdata": "]]><!DOCTYPE x [<!ENTITY y SYSTEM 'file:///etc/passwd'>]>&y;",
    "percent": "%s %(x)d {0} {name}",
    "tabs and lines": "a\tb\nc\rd",
    "surrogate": "\ud800 alone",
    "letters": "Ünïcödé 脑 🧠",
    "long": "x" * 3_000_000,
    "long with spaces": "word " * 600_000,
    "empty": "",
}

ROOM = 400_000
"""Characters by which hostile text may lengthen a page."""

FREE = ("participant_id", "family_id", "site", "reason", "name", "atlas", "stage")
"""Columns of the tables of a study that hold what others have written."""


class Page(HTMLParser):
    """Collect what a browser would do with a page."""

    def __init__(self):
        super().__init__()
        self.tags, self.active = {}, []

    def handle_starttag(self, tag, attrs):
        self.tags[tag] = self.tags.get(tag, 0) + 1
        if tag in ("script", "iframe", "embed", "base", "applet", "form"):
            self.active.append(f"<{tag}>")
        for name, value in attrs:
            address = re.sub(r"[\s\x00-\x20]", "", value or "").lower()
            if name.startswith("on") or address.startswith(("javascript:", "data:text")):
                self.active.append(f"{tag} {name}={(value or '')[:60]}")

    handle_startendtag = handle_starttag


def run(folder, count=100, seed=0):
    """Show hostile text on pages and in messages, and in one whole study.

    Parameters
    ----------
    folder : pathlib.Path
    count : int
        Pages and messages; the strings take turns.
    seed : int

    Returns
    -------
    Outcome
    """
    outcome = Outcome("hostile")
    makers = {"study page": study_page(), "participant page": participant_page(folder)}
    benign = {name: parse(make("benign")) for name, make in makers.items()}
    turns = [(string, name) for string in STRINGS for name in makers]
    for string, name in islice(cycle(turns), min(count, len(turns))):
        outcome.tried += 1
        what = f"{name}, {string}"
        try:
            page = makers[name](STRINGS[string])
        except Exception as fault:
            outcome.faults.append(f"{what}: {type(fault).__name__}: {str(fault)[:200]}")
            continue
        check(outcome, what, page, *benign[name])
    for string in islice(STRINGS, count):
        for what, words in messages(folder / "messages", STRINGS[string]):
            outcome.tried += 1
            check_message(outcome, f"{what}, {string}", words)
    whole_study(outcome, folder)
    return outcome.end()


def parse(page):
    """Read a page as a browser does: its elements, and its length."""
    parser = Page()
    parser.feed(page)
    parser.close()
    return parser, len(page)


def check(outcome, what, page, benign, length):
    """Compare a page that shows hostile text with one that shows plain words."""
    seen, longer = parse(page)
    outcome.count("pages")
    if seen.active != benign.active:
        outcome.faults.append(f"{what}: executes {sorted(set(seen.active) - set(benign.active))}")
    other = {tag for tag in seen.tags if benign.tags and tag not in benign.tags}
    if other:
        outcome.faults.append(f"{what}: elements that the page does not have: {sorted(other)}")
    if not page.rstrip().endswith("</html>"):
        outcome.faults.append(f"{what}: the page does not end")
    if longer > length + ROOM:
        outcome.faults.append(f"{what}: {longer - length} characters longer, needed {ROOM} at most")
    control = set(re.findall(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", page))
    if control:
        outcome.faults.append(f"{what}: control characters {sorted(control)}")


def check_message(outcome, what, words):
    """Check what a terminal is sent."""
    outcome.count("messages")
    control = set(re.findall(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u202a-\u202e\u2066-\u2069]", words))
    if control:
        outcome.faults.append(f"{what}: control characters {sorted(control)}")
    if len(words) > 20_000:
        outcome.faults.append(f"{what}: a message of {len(words)} characters")
    if "Traceback" in words or "fault of bids_sexclf" in words:
        outcome.faults.append(f"{what}: {words.strip().splitlines()[-1][:200]}")


def study_page():
    """Give a function that makes a study's page, figures included, with a string in its tables."""
    from testing.fake_study import make_study

    from bids_sexclf import figures, targets
    from bids_sexclf.report import page
    from bids_sexclf.settings import Study

    def make(string):
        tables = make_study(n=40)
        for frame in tables.values():
            for column in set(FREE) & set(getattr(frame, "columns", ())):
                old = frame[column].astype(str)
                frame[column] = old if column == "participant_id" else string + old.str[-1:]
        people_named = tables["quality"]["participant_id"] + string
        tables["quality"]["participant_id"] = people_named
        drawn = {
            name: figures.draw_svg(name, tables) for name, _ in figures.ordered(targets.find("sex"))
        }
        return page.make_page(tables, Study(), drawn)

    return make


def participant_page(folder):
    """Give a function that writes a participant's page with a string in all that it shows."""
    from bids_sexclf.participant.report import write_report
    from bids_sexclf.settings import Preparation

    def make(string):
        numbers = {
            "brain_volume_ml": 1200.0,
            "distortion_agreement_before": 0.7,
            "distortion": {"method": "none", "measure": string, "why": string},
        }
        path = write_report(
            folder / "page",
            "sub-01",
            numbers=numbers,
            provenance=Preparation().provenance() | {"note": string},
            sources={"t1w": f"sub-01/anat/{string}_T1w.nii.gz", "dwi": string},
            error=string,
            trace=string,
            note=string,
        )
        return path.read_text()

    return make


def messages(folder, string):
    """Give what the command line says where files hold a string: (what, words)."""
    from bids_sexclf import cli

    shutil.rmtree(folder, ignore_errors=True)
    bids = folder / "bids"
    bids.mkdir(parents=True)
    plain = string.encode("utf-8", "backslashreplace").decode()
    (folder / "study.toml").write_text(json.dumps("x" + plain) + " = 3\n")
    (folder / "filters.json").write_text(json.dumps({string: {"run": string}}))
    (bids / "participants.tsv").write_text(f"{plain}\tsex\nsub-01\tF\n")
    out = folder / "out"
    (out / "sub-01").mkdir(parents=True)
    (out / "sub-01" / "sub-01_quality.json").write_text("{}")
    short = plain.replace("\x00", "")[:5000]
    asked = {
        "a key of the study file": ["group", "--study", folder / "study.toml"],
        "a column of participants.tsv": ["group"],
        "a name of a stage": ["group", "--first", short],
        "a name of a model": ["group", "--models", short],
        "a name of a map": ["group", "--maps", short],
        "an atlas": ["group", "--atlas", short],
        "a label": ["participant", "--participant-label", short],
    }
    for what, words in asked.items():
        said = io.StringIO()
        with redirect_stderr(said), redirect_stdout(said):
            try:
                cli.main([str(bids), str(out), *map(str, words)])
            except SystemExit:
                pass
        yield what, said.getvalue()


def whole_study(outcome, folder):
    """Run a study whose folders, tables and atlas are hostile, and look at its page."""
    from bids_sexclf.volumes import load, save

    root = folder / "a <img src=x onerror=alert(6)> $x_{1$ 'q' %s"
    out = people.write_study(root / "bids", n=8, size=people.FINE)
    (path,) = (out / "tpl-Phantom").glob("*_desc-brain_mask.nii.gz")
    mask, affine = load(path)
    regions = mask.copy()
    regions[: mask.shape[0] // 2] *= 2
    atlas = root / "atlas $a_{1$ <b>.nii.gz"
    save(regions.astype("i2"), affine, atlas)
    names = [STRINGS["open formula"] + STRINGS["script"], STRINGS["event"] + "y" * 100_000]
    quoted = [name.replace('"', '""') for name in names]
    (root / "atlas $a_{1$ <b>.tsv").write_text(
        "index\tname\n" + "".join(f'{i}\t"{name}"\n' for i, name in enumerate(quoted, 1))
    )
    lines = (root / "bids" / "participants.tsv").read_text().splitlines()
    sites = [STRINGS["script"], STRINGS["open formula"]]
    rows = [f"{line}\t{sites[i % 2]}" for i, line in enumerate(lines[1:])]
    table = "\n".join([f"{lines[0]}\tsite", *rows]) + "\n"
    (root / "bids" / "participants.tsv").write_text(table)
    for path in out.glob("sub-*/*_quality.json"):
        about = json.loads(path.read_text())
        path.write_text(json.dumps(about | {STRINGS["script"]: STRINGS["control"], "Scans": "x"}))
    command = people.group_command(
        root / "bids",
        out,
        models=["cnn3", "logistic"],
        epochs=1,
        atlas=atlas,
        voxel_size=people.FINE,
    )
    ended = people.execute(command)
    outcome.tried += 1
    check_message(outcome, "a whole study", ended.stderr.replace("\r", "\n")[-20_000:])
    if ended.returncode != 0:
        outcome.faults.append(f"a whole study: exit code {ended.returncode}: {ended.stderr[-300:]}")
        return
    for path in Path(out).rglob("*.html"):
        check(outcome, f"a whole study, {path.name}", path.read_text(), Page(), 600_000)
