"""Several runs in one folder, and reporting that does not fail: the parts, without whole runs."""

import errno
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pandas as pd
import pytest

from bids_sexclf import disk
from bids_sexclf.errors import InputError, ToolError
from bids_sexclf.layout import SCANS, read_filters
from bids_sexclf.locks import hold
from bids_sexclf.participant import failures, graph, report, run
from bids_sexclf.participant.cache import GRAPH
from bids_sexclf.participant.finished import FINISHED, NEVER_BEGUN
from bids_sexclf.settings import Preparation, Run
from bids_sexclf.tables import read_table


def row_of(number, session=None):
    cells = dict.fromkeys(SCANS) | {"t1w": "scan.nii.gz", "note": None}
    return {"participant_id": f"sub-{number:02}", "session_id": session} | cells


def plan_of(rows, **more):
    columns = ["participant_id", "session_id", *SCANS, "note"]
    worklist = pd.DataFrame(rows, columns=columns, dtype=object)
    return SimpleNamespace(
        **{"ready": rows, "finished": [], "excluded": [], "worklist": worklist, "places": {}} | more
    )


@pytest.fixture
def jobs(tmp_path, monkeypatch):
    """Give a job that prepares rows by waiting a moment; they are finished afterwards."""
    done, log = set(), []
    monkeypatch.setattr(
        run, "judge", lambda row, *_: FINISHED if row["participant_id"] in done else NEVER_BEGUN
    )

    def job(rows, tell=lambda sentence: None, out=tmp_path / "out", **options):
        def prepare(ready):
            for row in ready:
                log.append(row["participant_id"])
                folder = graph.folder_of(tmp_path / "work", row)
                folder.mkdir(parents=True, exist_ok=True)
                time.sleep(0.1)
            done.update(row["participant_id"] for row in ready)
            return []

        return run.prepare_all(
            plan_of(rows), Preparation(), out, tmp_path / "work", prepare, tell, **options
        )

    job.done, job.log, job.work = done, log, tmp_path / "work"
    return job


def start(function, *arguments, **options):
    thread = threading.Thread(target=function, args=arguments, kwargs=options, daemon=True)
    thread.start()
    return thread


def test_two_runs_of_the_same_participants_prepare_each_once_and_never_wait_for_ever(jobs):
    rows, told = [row_of(number) for number in range(4)], []
    threads = [start(jobs, order, told.append) for order in (rows, rows[::-1], rows[2:] + rows[:2])]
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)
    assert sorted(jobs.log) == [row["participant_id"] for row in rows]
    assert told and all("is being prepared" in sentence for sentence in told)


def test_who_is_free_is_prepared_before_a_run_waits_for_others(jobs, tmp_path):
    told, held, leave = [], threading.Event(), threading.Event()

    def other():
        with hold(run._locks(row_of(1), tmp_path / "out", jobs.work)[0][0], "sub-01 is busy"):
            held.set()
            leave.wait(20)
            jobs.done.add("sub-01")

    thread = start(other)
    held.wait(20)
    mine = start(jobs, [row_of(1), row_of(2)], told.append)
    for _ in range(200):
        if told:
            break
        time.sleep(0.05)
    assert jobs.log == ["sub-02"] and told[0].startswith("sub-01 is busy by process")
    leave.set()
    mine.join(20)
    thread.join(20)
    assert jobs.log == ["sub-02"]  # the other run has finished sub-01


def test_where_few_files_may_be_open_participants_are_prepared_in_portions(jobs, monkeypatch):
    monkeypatch.setattr(run.resource, "getrlimit", lambda kind: (64, 8))
    held = []
    claim = run._claim

    def count(stack, rows, *places):
        held.append(len(rows))
        return claim(stack, rows, *places)

    monkeypatch.setattr(run, "_claim", count)
    assert jobs([row_of(number) for number in range(5)]) == []
    assert sorted(jobs.log) == [f"sub-{number:02}" for number in range(5)] and held == [2, 2, 1]


def test_two_output_folders_that_share_a_work_folder_take_turns(jobs, tmp_path):
    place = run._locks(row_of(1), tmp_path / "out", jobs.work)[1]
    told, thread = [], None
    with hold(*place):
        thread = start(jobs, [row_of(1)], told.append, out=tmp_path / "second")
        time.sleep(0.5)
        assert jobs.log == [] and "sub-01 is being prepared in" in told[0]
    thread.join(20)
    assert jobs.log == ["sub-01"]


def test_cleaning_leaves_the_folder_that_another_run_works_in(jobs, tmp_path):
    jobs([row_of(1)], clean=True)
    assert not graph.folder_of(jobs.work, row_of(1)).exists()
    rows = [row_of(2), row_of(3)]
    jobs(rows)
    with hold(*run._locks(rows[0], tmp_path / "out", jobs.work)[1]):
        run._clean_finished(jobs.work, rows)
    left = sorted(path.name for path in (jobs.work / GRAPH).iterdir() if path.is_dir())
    assert left == ["sub_02_wf"]


WRITE = """
import sys
from pathlib import Path
import pandas as pd
from bids_sexclf.participant.failures import update_table
sys.path.insert(0, sys.argv[1])
from test_together import plan_of, row_of
for number in map(int, sys.argv[3:]):
    rows = plan_of([row_of(number)]).worklist
    update_table(rows, Path(sys.argv[2]), "worklist", rows)
    excluded = pd.DataFrame(
        [[f"sub-{number:02}", None, "preflight", "a reason"]],
        columns=["participant_id", "session_id", "stage", "reason"], dtype=object,
    )
    update_table(excluded, Path(sys.argv[2]), "excluded", rows)
"""


def test_tables_hold_the_rows_of_all_jobs(tmp_path):
    from pathlib import Path

    here = str(Path(__file__).parent)
    shares = ("0 3 6 9", "1 4 7", "2 5 8")
    running = [
        subprocess.Popen([sys.executable, "-c", WRITE, here, tmp_path, *share.split()])
        for share in shares
    ]
    assert [job.wait() for job in running] == [0, 0, 0]
    everyone = [f"sub-{number:02}" for number in range(10)]
    for name in ("worklist", "excluded"):
        assert read_table(tmp_path / f"{name}.tsv", name)["participant_id"].tolist() == everyone


def test_a_job_replaces_its_own_rows_and_no_other_sessions(tmp_path):
    rows = [row_of(1, "ses-1"), row_of(1, "ses-2"), row_of(2)]

    def exclude(*of, looked_at):
        told = [{"stage": "preflight", "reason": "x"} | rows[index] for index in of]
        failures.write_excluded(tmp_path, told, plan_of([rows[index] for index in looked_at]))
        found = read_table(tmp_path / "excluded.tsv", "excluded")
        return found["participant_id"].str.cat(found["session_id"].fillna("")).tolist()

    assert exclude(0, 1, 2, looked_at=(0, 1, 2)) == ["sub-01ses-1", "sub-01ses-2", "sub-02"]
    assert exclude(looked_at=(0,)) == ["sub-01ses-2", "sub-02"]
    assert exclude(looked_at=(1, 2)) == []


def test_a_damaged_table_is_told_and_made_anew(tmp_path):
    (tmp_path / "excluded.tsv").write_bytes(b"\x00\xff\tnothing\n1\n")
    told = []
    rows = [row_of(1)]
    failures.write_excluded(
        tmp_path, [rows[0] | {"stage": "x", "reason": "y"}], plan_of(rows), told.append
    )
    assert "was damaged" in told[0]
    assert read_table(tmp_path / "excluded.tsv", "excluded")["reason"].tolist() == ["y"]


# -- reporting cannot fail -------------------------------------------------------------------------


def no_room(*args, **kwargs):
    raise OSError(errno.ENOSPC, "No space left on device")


FAULTS = [failures.row_of_failure(row_of(1), "a <reason>"), failures.row_of_failure(row_of(2), "b")]


def test_a_page_that_cannot_be_drawn_is_told_as_text(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "_render", lambda *args: 1 / 0)
    told = []
    planned = plan_of([row_of(1), row_of(2)])
    failures.report_failures(tmp_path, FAULTS, planned.worklist, Preparation(), told.append)
    page = (tmp_path / "sub-01.html").read_text()
    assert "a &lt;reason&gt;" in page and "ZeroDivisionError" in page and told == []
    assert (tmp_path / "sub-02.html").exists()


def test_quality_numbers_of_another_kind_cost_no_page(tmp_path):
    numbers = {"brain_volume_ml": "much", "snr": [1]}
    path = report.write_report(tmp_path, "sub-01", numbers=numbers, provenance={}, sources={})
    assert "much" in path.read_text()


def test_one_page_without_room_costs_neither_the_table_nor_the_others(tmp_path, monkeypatch):
    write, told = failures.write_report, []

    def refuse(out, person, *args, **kwargs):
        return no_room() if person == "sub-01" else write(out, person, *args, **kwargs)

    monkeypatch.setattr(failures, "write_report", refuse)
    rows = [row_of(1), row_of(2)]
    run._account(tmp_path, FAULTS, plan_of(rows), Preparation(), told.append)
    assert read_table(tmp_path / "excluded.tsv", "excluded")["reason"].tolist() == [
        "a <reason>",
        "b",
    ]
    assert (tmp_path / "sub-02.html").exists() and len(told) == 1 and "sub-01" in told[0]


def test_no_room_at_all_is_told_and_the_run_ends_as_it_would(tmp_path, monkeypatch):
    monkeypatch.setattr(disk.tempfile, "mkstemp", no_room)
    told = []
    run._account(tmp_path, FAULTS, plan_of([row_of(1), row_of(2)]), Preparation(), told.append)
    assert len(told) == 4 and "excluded.tsv" in told[0] and "index.html" in told[3]
    assert all("No space left" in sentence for sentence in told)


def test_pictures_without_room_do_not_hide_the_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(failures, "_keep_pictures", no_room)
    trace = {"wf.sub_01_wf.step": "Traceback\nValueError: the cause"}
    told = failures.tell_failure(tmp_path, row_of(1), tmp_path / "wf" / "sub_01_wf", trace, set())
    assert "the cause" in told["reason"]


def test_a_damaged_quality_file_costs_one_page(tmp_path):
    rows, told = [row_of(1), row_of(2)], []
    for row, content in zip(rows, ("{", "{}"), strict=True):
        path = tmp_path / run.quality_name(row)
        path.parent.mkdir()
        path.write_text(content)
    planned = plan_of([], finished=rows)
    assert run.rewrite_reports(tmp_path, planned, Preparation(), told.append) == 1
    assert (tmp_path / "sub-02.html").exists() and "sub-01" in told[0]


def test_a_workflow_that_cannot_be_built_costs_its_participant_only(tmp_path, monkeypatch):
    ran = []

    def build(row, *args):
        from nipype.pipeline.engine import Workflow

        if row["participant_id"] == "sub-01":
            raise ValueError("substring not found")
        return Workflow("sub_02_wf")

    monkeypatch.setattr(graph, "_build", build)
    monkeypatch.setattr(graph, "_run_graph", lambda wf, *args: ran.extend(wf._graph.nodes()))
    monkeypatch.setattr(graph, "judge", lambda *args: FINISHED)
    rows = [row_of(1), row_of(2)]
    out = {"out": tmp_path}
    failed = graph.run_workflows(out, {}, tmp_path, Run(), Preparation(), rows, None)
    assert [row["participant_id"] for row in failed] == ["sub-01"]
    assert "substring not found" in failed[0]["reason"] and "needed" in failed[0]["reason"]
    assert [workflow.name for workflow in ran] == ["sub_02_wf"]


@pytest.mark.parametrize(
    ("fault", "plugin", "kind", "word"),
    [
        (OSError(28, "No space left on device"), False, OSError, "No space"),
        (OSError(28, "No space left on device"), True, OSError, "No space"),
        (KeyError("x"), False, KeyError, "x"),
        (KeyError("x"), True, ToolError, "--use-plugin"),
    ],
)
def test_a_plugin_is_blamed_only_for_what_may_be_its_fault(tmp_path, fault, plugin, kind, word):
    class Graph:
        def run(self, **chosen):
            raise fault

    (tmp_path / "plugin.yml").write_text("plugin: Linear")
    chosen = Run(use_plugin=tmp_path / "plugin.yml" if plugin else None)
    with pytest.raises(kind, match=word):
        graph._run_graph(Graph(), chosen, None, {}, dict)
    graph._run_graph(Graph(), chosen, None, {"node": "trace"}, dict)


def test_parts_of_another_session_stay(tmp_path):
    figures = tmp_path / "sub-01" / "figures"
    figures.mkdir(parents=True)
    names = [".part-abc-sub-01_ses-1_desc-x.svg", ".part-abc-sub-01_ses-10_desc-x.svg"]
    for name in names:
        (figures / name).touch()
    (tmp_path / ".part-abc-sub-01_ses-1.html").touch()
    graph._remove_parts(tmp_path, row_of(1, "ses-1"))
    assert [path.name for path in tmp_path.rglob(".part*")] == [names[1]]


# -- files that users write ------------------------------------------------------------------------

PLUGINS = ["plugin: [", "3", "- a", "plugin: 3", "plugin_args: {}", "plugin: X\nplugin_args: 3",
           "plugin: X\nupdatehash: true", "\xff", ""]  # fmt: skip


@pytest.mark.parametrize("content", PLUGINS)
def test_a_plugin_file_of_another_kind_is_refused(tmp_path, content):
    path = tmp_path / "plugin.yml"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError, match="[Ff]ound.*needed.*Correct --use-plugin"):
        graph.read_plugin(path)
    with pytest.raises(InputError, match="needed"):
        graph.read_plugin(tmp_path / "absent.yml")


@pytest.mark.parametrize("content", ["[]", '"t1w"', "{", '{"t1w": 3}', "[" * 100_000, "\xff"])
def test_a_filter_file_of_another_kind_is_refused(tmp_path, content):
    path = tmp_path / "filter.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError, match="[Ff]ound.*needed.*Correct --bids-filter-file"):
        read_filters(path)


def test_a_plan_of_odd_sidecars_is_refused_for_its_participant(monkeypatch):
    from bids_sexclf.participant import series

    monkeypatch.setattr(series, "read_metadata", lambda *args: 1 / 0)
    row = row_of(1) | {"dwi": "sub-01/dwi/sub-01_dwi.nii.gz"}
    with pytest.raises(InputError, match="Found sidecars.*ZeroDivisionError.*needed"):
        series.plan_series(None, row, Preparation())
    monkeypatch.setattr(series, "read_metadata", lambda *args: no_tool())
    with pytest.raises(ToolError, match="absent"):
        series.plan_series(None, row, Preparation())


def no_tool():
    raise ToolError("absent")
