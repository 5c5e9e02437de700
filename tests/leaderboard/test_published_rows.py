"""Published figures: their sources, their mechanisms, and their table beside ours."""

import re

from leaderboard_cases import make, row, table

from lra_bench import published
from lra_bench.leaderboard import published_table
from lra_bench.registry import ATTENTIONS


def test_published_rows_have_a_table_of_their_own_and_name_their_source():
    ours, theirs = table([make(), make("performer-softmax")], with_published=True).split(
        "### published"
    )
    assert "Performer" not in ours
    assert re.search(r"Transformer +\| +LRA paper \| +36.37", theirs)
    assert row(theirs, "Favor-256 (redraw)")[1:] == ["xformers", "19.56", "unknown"]
    assert re.search(r"Performer +\| +LRA paper \| +18.01", theirs)
    assert "BigBird" not in theirs
    assert "other sizes" in theirs


def test_published_rows_say_whether_listops_was_read_without_brackets():
    theirs = table([make()], with_published=True).split("### published")[1]
    for model, source, brackets in (
        ("Transformer", "LRA paper", "dropped"),
        ("Standard", "nystromformer", "dropped"),
        ("Self-Attention", "skyformer", "dropped"),
        ("Standard", "xformers", "unknown"),
    ):
        assert re.search(rf"{model} +\| +{source} \| +[0-9.]+ \| +{brackets} \|", theirs)
    assert "[MAX 2 9 ] as MAX 2 9, which is another task" in theirs
    assert "brackets" not in table([make(task="image")], with_published=True)


def test_what_is_known_of_brackets_is_of_published_rows():
    """Each line of the file is of a row that has a figure for ListOps, and says how it is known."""
    rows = [row for row in published.results() if "listops" in row.accuracy]
    for known in published.brackets():
        of = [row for row in rows if row.source.startswith(known["source"])]
        assert known["model"] in ("", *(row.model for row in of))
        assert {row.brackets for row in of if known["model"] in ("", row.model)} == {
            known["brackets"]
        }
        assert known["evidence"]


def test_published_kernels_are_told_apart():
    """The code of Nystromformer and Skyformer names the ReLU kernel, but does not use it."""
    softmax, relu = (
        {row.source for row in published.of(name, "listops")}
        for name in ("performer-softmax", "performer-relu")
    )
    assert softmax >= {"LRA paper", "nystromformer", "skyformer", "xformers"}
    assert relu == {"FlashAttention paper, Table 3 and Table 6"}
    of_paper = [row for row in published.of("performer-relu", "text") if row.source == "LRA paper"]
    assert [row.setting("text") for row in of_paper] == ["preset lra"]
    (row, *_) = published.of("linformer", "listops")
    assert row.setting("listops") == "preset lra, brackets dropped"
    assert "lra (LRA paper), nystromformer (nystromformer)" in published_table.all_of("markdown")


def test_published_figures_are_those_of_the_sources():
    rows = {(row.source, row.model): row.accuracy for row in published.results()}
    assert rows["LRA paper", "BigBird"]["pathfinder"] == 74.87
    assert "pathx" not in rows["LRA paper", "BigBird"]
    assert rows["s5", "S5"]["pathx"] == 98.58


def test_rivals_are_published_rows_of_their_mechanisms():
    rows = {(row.source, row.model): row for row in published.results()}
    h_transformer = published.of("h-transformer", "listops")
    assert [row.accuracy["listops"] for row in h_transformer] == [49.53]
    assert {row.model for row in published.of("luna", "text")} == {
        "Luna-256 (as in MEGA)",
        "Luna-256 (as in S4)",
    }
    assert rows["S4 paper, Table 4", "Nystromformer (as in S4)"].failed == {"pathx"}
    assert published.of("hedgehog", "listops") == []


def test_every_model_of_the_papers_table_2_is_one_mechanism():
    """Its Performer, on byte text, has the ReLU kernel."""
    found = {
        name: speed.model for name in ATTENTIONS.names() if (speed := published.speed_of(name))
    }
    assert sorted(found.values()) == sorted(speed.model for speed in published.speeds())
    assert found["performer-relu"] == "Performer"


def test_identifiers_that_were_not_checked_are_marked():
    sources = {row.model: row.source for row in published.results()}
    assert sources["FNet"] == "S4 paper, Table 4, arXiv:2105.03824 not checked"
    assert sources["S4-v1"] == "MEGA paper, Table 2"


def test_a_row_that_repeats_figures_or_has_none_is_left_out():
    models = [row.model for row in published.results()]
    assert models.count("MEGA") == models.count("S5") == models.count("LRU") == 1
    for name in ("S4-v2", "Nystromformer (own paper)", "LION-lit", "S4 from scratch (as in SPT)"):
        assert name not in models
    assert all(row.accuracy for row in published.results())
