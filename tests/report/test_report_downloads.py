"""BibTeX of the report: every paper of a mechanism with its authors, its title and its year."""

import re

from lra_bench.registry import ATTENTIONS
from lra_bench.report.downloads import bibtex


def entries(text):
    """Return the fields of each entry by its key."""
    found = re.findall(r"@misc\{([^,]+),\n(.*?)\n\}", text, re.DOTALL)
    return {key: dict(re.findall(r"(\w+) = \{(.*)\},", body)) for key, body in found}


def test_every_entry_of_a_mechanism_has_authors_and_a_title():
    found = entries(bibtex(ATTENTIONS.names()))
    assert len(found) >= 30
    for fields in found.values():
        assert re.fullmatch(r"[A-Z][\w'-]*( and [A-Z][\w'-]*)*( and others)?", fields["author"])
        assert fields["title"].strip("{}")
        assert re.fullmatch(r"20\d\d", fields["year"])


def test_words_beside_a_reference_are_no_author():
    """As "the backward pass as in Dao et al. 2022" in the docstring of softmax-chunked."""
    found = entries(bibtex(["softmax-chunked"]))
    assert found["softmax-chunked-2"]["author"] == "Dao and others"
    assert found["softmax-chunked"]["title"] == "{Self-attention Does Not Need O(n$^2$) Memory}"


def test_signs_that_latex_reads_are_escaped():
    found = entries(bibtex(["favor-sharp", "hedgehog"]))
    assert found["favor-sharp"]["title"].startswith(r"{FAVOR\#: ")
    assert r" \& " in found["hedgehog"]["title"]


def test_an_attention_that_is_not_registered_here_has_no_entry():
    assert entries(bibtex(["theirs"])) == {}
