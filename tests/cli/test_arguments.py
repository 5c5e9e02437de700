"""What users type: numbers, times, sizes, lists and names, in the forms that they may choose."""

import pytest
from common import refused

from lra_bench.cli import parser

RUN, SWEEP = ("run",), ("sweep", "--out", "x")
EFFICIENCY = ("efficiency",)


def parsed(words, name):
    return getattr(parser().parse_args(list(words)), name)


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        ((*RUN, "--seed", "1e3"), "seed", 1000),
        ((*RUN, "--seed", "1_000"), "seed", 1000),
        ((*RUN, "--processes", "2.0"), "processes", 2),
        ((*SWEEP, "--seeds", "0-2"), "seeds", (0, 1, 2)),
        ((*SWEEP, "--seeds", "3-4, 0,3"), "seeds", (3, 4, 0)),
        ((*SWEEP, "--seeds", "1e1"), "seeds", (10,)),
        ((*SWEEP, "--time-limit", "90"), "time_limit", 90),
        ((*SWEEP, "--time-limit", "1e3"), "time_limit", 1000),
        ((*SWEEP, "--time-limit", "1h"), "time_limit", 3600),
        ((*SWEEP, "--time-limit", "1H30M"), "time_limit", 5400),
        ((*SWEEP, "--time-limit", "1 h 30 min 5s"), "time_limit", 5405),
        ((*EFFICIENCY, "--time-limit", "2d"), "time_limit", 172_800),
        ((*EFFICIENCY, "--budget", "500ms"), "budget", 0.5),
        ((*EFFICIENCY, "--budget", "1.5 minutes"), "budget", 90),
        ((*EFFICIENCY, "--lengths", "1e3, 2048,"[:-1]), "lengths", (1000, 2048)),
        ((*EFFICIENCY, "--memory-limit", "4G"), "memory_limit", 2**32),
        ((*EFFICIENCY, "--memory-limit", "4GiB"), "memory_limit", 2**32),
        ((*EFFICIENCY, "--memory-limit", "4 gb"), "memory_limit", 4 * 10**9),
        ((*RUN, "--memory-limit", "1.5e9"), "memory_limit", 1_500_000_000),
        ((*EFFICIENCY, "--dtype", "bf16,FP32"), "dtype", ("bfloat16", "float32")),
        ((*EFFICIENCY, "--pass", "Forward,bwd"), "passes", ("forward", "backward")),
        (("table", "--format", "md"), "format", "markdown"),
        (("table", "--format", "TeX"), "format", "latex"),
        (("table", "--format", "htm"), "format", "html"),
        (("table", "--kind", "Efficiency"), "kind", "efficiency"),
        (("list", "attention"), "kind", "attentions"),
        (("data", "Prepare", "text"), "action", "prepare"),
        ((*SWEEP, "--executor", "RAY"), "executor", "ray"),
        (("Sweep", "--jobs", "2"), "jobs", 2),
        ((*SWEEP, "--grid", "a.b=1 2,3"), "grid", [("a.b", ("1 2", "3"))]),
        (("analyze", "variance", "--out", "x", "--samples", "1e4"), "samples", 10_000),
        (("analyze", "approximation", "--out=x", "--scales", "1, 5e-1"), "scales", (1, 0.5)),
    ],
)
def test_a_form_that_is_understood(words, name, value):
    assert parsed(words, name) == value


WHOLE = "such as 1000 or 1e3"
TIME = "such as 90, 90s, 30m, 1.5h or 1h30m"
SIZE = "such as 16GiB, 16G or 500MB"
SEEDS = "write 0,1,2 or 0-2"


@pytest.mark.parametrize(
    ("words", "form"),
    [
        *(((*RUN, "--seed", text), WHOLE) for text in ("1k", "0x10", "1.5", "1,000", "", "1e99")),
        ((*RUN, "--seed", "0-2"), "lra-bench sweep does several seeds"),
        ((*RUN, "--processes", "0"), "from 1 to"),
        *(((*SWEEP, "--seeds", text), SEEDS) for text in ("2-0", "0..2", "0:3", "0-1e9", "x")),
        ((*SWEEP, "--seeds", "0,1,"), "a list is written 0,1,2 or 0-2"),
        ((*SWEEP, "--jobs", "auto"), WHOLE),
        ((*SWEEP, "--tasks", "listops text"), "names are separated by commas"),
        ((*SWEEP, "--tasks", "listops;text"), "names are separated by commas"),
        ((*SWEEP, "--tasks", "listops,,text"), "a list is written A,B,C"),
        ((*SWEEP, "--tasks", "listops", "text"), "--tasks listops,text"),
        ((*SWEEP, "--tasks=listops", "text"), "--tasks listops,text"),
        ((*SWEEP, "--seeds", "0", "1", "2"), "--seeds 0,1,2"),
        *(
            ((*EFFICIENCY, "--time-limit", text), TIME)
            for text in ("1h30", "1:30", "-5", "0", "inf", "nan", "soon", "1y", "5000h", "1e99")
            if text != "-5"
        ),
        *(
            ((*RUN, "--memory-limit", text), SIZE)
            for text in ("80%", "16gigs", "1k", "16,5G", "-1", "half", "9e99G", "", "9" * 400)
        ),
        ((*EFFICIENCY, "--lengths", "1k,2k"), WHOLE),
        ((*EFFICIENCY, "--lengths", "512,1,024"), WHOLE),
        (("ablate", "redraw", "--out=x", "--every", "1,000"), WHOLE),
        (("analyze", "approximation", "--out=x", "--scales", "1,024"), "above 0 and below 100"),
        ((*SWEEP, "--seeds", "0,1,000"), SEEDS),
        ((*EFFICIENCY, "--lengths", "512-2048"), WHOLE),
        ((*EFFICIENCY, "--dtype", "float16"), "valid: float32, bfloat16"),
        ((*EFFICIENCY, "--scope", "everything"), "valid: attention, model, train"),
        ((*RUN, "--set", "train.num_steps", "5"), "write --set train.num_steps=5"),
        ((*RUN, "--set", "a.b=1", "c.d=2"), "write --set a.b=1 --set c.d=2"),
        ((*RUN, "--set", "a.b=1", "--set", "c.d", "2"), "write --set c.d=2"),
        ((*RUN, "--set", "a.b", "=", "5"), "write --set a.b=5"),
        ((*RUN, "--set", "a.b=x", "y"), "--set KEY=VALUE, in quotes if the value has spaces"),
        ((*RUN, "--task", "listops,text"), "lra-bench sweep has --tasks listops,text"),
        ((*RUN, "--attention", "linear,mega"), "takes one name; lra-bench sweep has"),
        ((*RUN, "--resume=yes"), "write --resume, or leave it out"),
        ((*RUN, "--resume", "yes"), "--resume takes no value"),
        ((*SWEEP, "--dry-run=true"), "write --dry-run, or leave it out"),
        (("table", "--published=1"), "write --published, or leave it out"),
        (("table", "--format", "pdf"), "valid: markdown, csv, json, latex, html"),
        ((*RUN, "listops"), "each value follows the name of its option"),
        (("analyze", "approximation", "--out", "x", "--scales", "50%"), "such as 0.5"),
        (("analyze", "approximation", "--out", "x", "--scales", "-1,2"), "--scales=-1,2"),
        (("analyze", "variance", "--out", "x", "--samples", "9"), "from 100"),
        ((*RUN, "--out", "-x"), "--out=-x"),
    ],
)
def test_another_form_is_answered_with_the_form_to_use(cli, words, form):
    refused(cli(*words), 2, form)


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("swep",), "sweep"),
        (("submitcheck",), "submit-check"),
        (("analyze", "aproximation"), "approximation"),
        (("data", "preapre", "text"), "prepare"),
        (("list", "atentions"), "attentions"),
        ((*RUN, "--atention", "linear"), "--attention"),
        ((*RUN, "--taks", "listops"), "--task"),
        ((*RUN, "--att", "linear"), "--attention"),
        ((*RUN, "--data_dir", "x"), "--data-dir"),
        ((*RUN, "-seed", "1"), "--seed"),
        ((*RUN, "--seeds=1"), "--seed"),
        ((*RUN, "--no-resume"), "--resume"),
        (("sweep", "--attention", "linear"), "--attentions"),
        (("sweep", "--dryrun"), "--dry-run"),
        (("report", "x", "--uot", "y"), "--out"),
        (("table", "x", "--publised"), "--published"),
        (("analyze", "variance", "--smaples", "100"), "--samples"),
        ((*EFFICIENCY, "--length", "5"), "--lengths"),
    ],
)
def test_a_slip_gets_did_you_mean(cli, words, meant):
    result = cli(*words)
    refused(result, 2, "did you mean", "valid: ")
    assert repr(meant) in result[2].partition("valid: ")[0]


@pytest.mark.parametrize(
    ("option", "setting"),
    [
        ("--batch-size", "train.batch_size"),
        ("--learning_rate", "train.learning_rate"),
        ("--num-steps=5", "train.num_steps"),
        ("--dropout", "model.dropout"),
        ("--lr", "train.learning_rate"),
        ("--epochs", "train.num_steps"),
    ],
)
def test_a_setting_that_is_no_option_is_named(cli, option, setting):
    refused(cli(*RUN, option, "1"), 2, f"did you mean --set {setting}=VALUE?")


def test_options_come_after_the_command(cli):
    refused(cli("--task", "listops", "run"), 2, "lra-bench COMMAND --task")


def every_parser(top):
    yield top
    for below in top.commands().values():
        yield from every_parser(below)


@pytest.mark.parametrize("each", list(every_parser(parser())), ids=lambda each: each.prog)
def test_help_fits_into_80_columns(each, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = each.format_help()
    assert [line for line in text.splitlines() if len(line) > 80] == []
    paragraphs = (each.description or "").strip().split("\n\n")
    assert [" ".join(part.split()) in " ".join(text.split()) for part in paragraphs] == [
        True for _ in paragraphs
    ]
