"""The sentences at the top of the report page."""

import report_cases as cases
from efficiency_cases import law, measured

from lra_bench.report import summary
from lra_bench.report.inputs import run_tables
from lra_bench.scaling import groups


def of_runs(runs):
    return summary.sentences(run_tables(cases.parsed(runs)), [])


def of_lines(lines):
    return summary.sentences([], groups.groups(measured(lines)))


def test_who_leads_is_said_of_those_with_the_most_tasks():
    runs = [
        cases.run("text", "linformer", accuracy=0.9),
        *(cases.run(task, "softmax", accuracy=0.6) for task in ("text", "listops")),
        *(cases.run(task, "linear", accuracy=0.5) for task in ("text", "listops")),
    ]
    (sentence,) = of_runs(runs)
    assert "softmax leads with 60.0 % on average over 2 tasks" in sentence


def test_a_row_at_chance_does_not_lead():
    chance = cases.CHANCE["listops"]
    failing = [cases.run("listops", name, accuracy=chance) for name in ("lion", "local")]
    assert of_runs(failing) == ["Preset mini: no row has a result above chance."]
    (sentence,) = of_runs([*failing, cases.run("listops", "softmax", accuracy=chance + 0.2)])
    assert "softmax leads" in sentence


def test_the_table_with_verdicts_speaks_for_the_page():
    """Not an ablation of one seed that has more rows."""
    ablation = [
        cases.run("listops", name, preset="small")
        for name in ("softmax", "linear", "linformer", "reformer")
    ]
    seeds = [
        cases.run("listops", name, seed) for name in ("softmax", "linear") for seed in range(3)
    ]
    assert of_runs([*ablation, *seeds])[0].startswith("Preset mini: ")


def test_each_machine_has_a_sentence_that_names_it_and_the_scope():
    lines = [
        line
        for machine, factor in (("2 x EPYC", 0.01), ("1 x H100", 0.002))
        for line in (
            *law("softmax", factor, 2.0, machine=machine),
            *law("linear", 0.001, 1.0, machine=machine),
        )
    ]
    first, second = of_lines(lines)
    assert first != second
    for sentence, machine in ((first, "H100"), (second, "EPYC")):
        assert sentence.startswith("Attention alone, forward")
        assert (machine in first) != (machine in second)
        assert "linear is the fastest at" in sentence


def test_an_exact_attention_may_be_the_fastest():
    lines = [*law("softmax", 0.001, 1.0), *law("linear", 0.01, 1.0)]
    (sentence,) = of_lines(lines)
    assert "softmax, which is exact, is the fastest at" in sentence
