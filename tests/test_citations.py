"""Methods text: every citation has its reference, and every reference is cited."""

import re
from pathlib import Path

import pytest

from bids_sexclf import catalogue, citations, cli
from bids_sexclf.errors import InputError
from bids_sexclf.participant.report import methods
from bids_sexclf.report.methods import write_methods
from bids_sexclf.settings import DERIVATIVES, Preparation, Study

PACKAGE = Path(citations.__file__).parent
TEXT = "Corrected after Holm [@holm1979]; maps of 5 mm² & 3 % [@nichols2002; @efron1987]."


def cited_in_the_package():
    """Collect every key that a sentence of the package cites."""
    sources = [path for path in PACKAGE.rglob("*.py") if path.name != "citations.py"]
    text = "\n".join(path.read_text() for path in sources)
    cited = set(re.findall(r"@([a-z]+\d{4}[a-z]?)", " ".join(citations.CITED.findall(text))))
    return cited | {entry["cite"] for entry in DERIVATIVES.values() if "cite" in entry}


def test_every_key_of_every_sentence_exists_and_vice_versa():
    assert cited_in_the_package() == set(citations.library())


def test_every_reference_says_who_what_when_and_where_to_read_it():
    for key, reference in citations.library().items():
        assert {"author", "title", "year"} <= set(reference.fields), key
        assert key.endswith(reference.fields["year"]), key
        assert reference.address.startswith("https://"), key


@pytest.mark.parametrize("t1w", [True, False])
@pytest.mark.parametrize("dwi", [True, False])
def test_the_participant_level_cites_by_key_and_leaves_none_unresolved(t1w, dwi):
    scans = {"t1w": "t1w.nii.gz" if t1w else None, "dwi": "dwi.nii.gz" if dwi else None}
    text = methods(Preparation().provenance(), scans)
    assert ("zhang2001" in citations.keys_of(text)) == t1w
    assert ("jensen2010" in citations.keys_of(text)) == dwi
    assert "[@" not in citations.to_markdown(text) and "[@" not in citations.to_html(text)


def test_the_study_cites_what_it_uses():
    assert "wilcoxon1945" in citations.keys_of(write_methods(Study()))
    without = write_methods(Study(attributions=[]))
    assert "wilcoxon1945" not in citations.keys_of(without)


def test_an_unknown_key_is_refused():
    with pytest.raises(InputError, match="nobody2020"):
        citations.to_markdown("As shown [@nobody2020].")


def test_markdown_names_authors_and_years():
    text = citations.to_markdown(TEXT)
    assert text.startswith("Corrected after Holm (Holm 1979); ")
    assert "(Nichols and Holmes 2002; Efron 1987)" in text
    assert text.count("<https://") == 3


def test_html_links_lead_to_the_list():
    text = citations.to_html(TEXT)
    for key in ("holm1979", "nichols2002", "efron1987"):
        assert f'href="#ref-{key}"' in text and f'id="ref-{key}"' in text
    assert "3 % " in text and "&amp;" in text


def test_bibtex_holds_exactly_what_is_cited():
    held = re.findall(r"^@\w+\{(\w+),", citations.to_bibtex(TEXT), re.M)
    assert held == ["efron1987", "holm1979", "nichols2002"]


def test_latex_escapes_text_and_cites():
    text = citations.to_latex(TEXT)
    assert r"~\citep{nichols2002,efron1987}" in text and r"\& 3 \%" in text and "$^2$" in text
    assert text.count("{") == text.count("}") and text.isascii()


def test_boilerplate_alone_writes_all_four_files(tmp_path, capsys):
    from bids_sexclf.phantom.dataset import write_dataset
    from bids_sexclf.phantom.options import PhantomOptions

    root = tmp_path / "bids"
    write_dataset(root, PhantomOptions(participants=1, resolution=8, dwi=False))
    templates = root / "derivatives" / "phantom" / "templates"
    asked = [root, tmp_path / "out", "participant", "--boilerplate-only", "--template", "Phantom"]
    asked += ["--templates-dir", templates, "--nprocs", "1"]
    assert cli.main([str(word) for word in asked]) == 0
    told = capsys.readouterr().out
    assert "Tustison et al. 2010" in told and "Jensen" not in told
    made = sorted(path.name for path in (tmp_path / "out" / "logs").iterdir())
    assert made == [f"CITATION.{kind}" for kind in ("bib", "html", "md", "tex")]


def entries():
    names = catalogue.names("bids_sexclf.models")
    return {name: catalogue.find("bids_sexclf.models", name) for name in names}


def test_every_network_has_its_source_and_the_methods_cite_it():
    networks = {name: entry for name, entry in entries().items() if hasattr(entry, "build")}
    assert len(networks) == 8
    for name, entry in networks.items():
        assert entry.GRIDS and citations.keys_of(entry.SOURCE), name
        if hasattr(entry, "Classifier"):
            assert f"{name} {entry.SOURCE}" in write_methods(Study(models=[name]))


@pytest.mark.parametrize(("kind", "target"), [("classes", "sex"), ("quantity", "age")])
def test_every_model_that_is_no_network_is_told_for_what_it_learns(kind, target):
    for name, entry in entries().items():
        searched = getattr(entry, "NESTED", False) and kind in entry.Classifier.kinds
        assert searched == (kind in getattr(entry, "SAYS", {})), name
        if searched:
            words = entry.SAYS[kind].format(what=target)
            assert words in write_methods(Study(models=[name], target=target))
