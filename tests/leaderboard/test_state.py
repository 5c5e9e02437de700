"""Accuracy against bytes of state, from records: numbers, tables and figure."""

import json

import pytest
from common import refused
from leaderboard_cases import make, parsed

from lra_bench.display.label_placement import place_labels
from lra_bench.leaderboard import state_figure
from lra_bench.leaderboard.state import panels, state_bytes
from lra_bench.registry import ATTENTIONS


def bytes_of(*args, change=None, **kwargs):
    run = make(*args, **kwargs)
    if change is not None:
        change(run)
    return state_bytes(*parsed([run]))


def test_bytes_follow_from_the_config():
    """Preset mini of ListOps has 256 tokens and 2 heads of 32 features."""
    assert bytes_of("softmax") == 4 * 2 * 2 * 32 * 256
    assert bytes_of("identity") == 0
    assert bytes_of("performer-relu") == 4 * 2 * 256 * 33
    few = ("attention.num_features=16", "model.num_heads=4", "model.dtype=bfloat16")
    assert bytes_of("performer-relu", overrides=few) == 2 * 4 * 16 * 33
    assert bytes_of("softmax", overrides=("model.pooling=cls",)) == 4 * 2 * 2 * 32 * 257
    assert bytes_of("softmax", overrides=("model.padded_length=400",)) == 4 * 2 * 2 * 32 * 400
    assert bytes_of("softmax", overrides=("data.max_length=100",)) == 4 * 2 * 2 * 32 * 100
    assert bytes_of("s5", overrides=("model.emb_dim=48",)) == 4 * 2 * 48


def test_older_records_lack_options():
    """What an older version had no option for is as usual."""

    def older(run):
        del run["config"]["attention_options"]["causal"]
        del run["config"]["model"]["dropout_bits"]

    assert bytes_of("linear", change=older) == bytes_of("linear")


@pytest.mark.parametrize(
    "change",
    [
        lambda run: run["config"]["data"].update(colour="red"),
        lambda run: run["config"]["model"].update(dtype="float8"),
        lambda run: run["config"]["model"].update(num_heads="two"),
        lambda run: run["config"]["model"].pop("head_dim"),
        lambda run: run["config"].update(attention="unheard-of"),
        lambda run: run["config"].update(task="unheard-of"),
    ],
)
def test_what_cannot_be_known_is_unknown(change):
    assert bytes_of("softmax", change=change) is None


def divided(dims, options):
    return dims.max_len / 0 * len(options)


@pytest.mark.parametrize(
    "declared", [None, divided, lambda *_: -1, lambda *_: 0.5, lambda *_: "many", lambda: 3]
)
def test_a_plug_in_may_declare_nothing_or_nonsense(declared, monkeypatch):
    traits = ATTENTIONS.get("linear").traits
    monkeypatch.setitem(vars(traits), "state", declared)
    assert bytes_of("linear") is None


@pytest.fixture
def battery(tmp_path):
    """A folder of records of two tasks, each with all mechanisms and two seeds."""
    for task in ("listops", "pathfinder"):
        for number, name in enumerate(ATTENTIONS.names()):
            for seed in range(2):
                values = make(name, seed, 0.3 + number / 100 + seed / 50, task=task)
                if (name, seed) == ("reformer", 1):
                    values = make(name, seed, status="diverged", task=task)
                folder = tmp_path / "runs" / f"{task}-{name}-{seed}"
                folder.mkdir(parents=True)
                (folder / "record.json").write_text(json.dumps(values))
    return tmp_path / "runs"


@pytest.mark.ci
def test_one_command_gives_tables_and_figure(battery, cli, tmp_path):
    picture = tmp_path / "state.png"
    status, out, err = cli("table", battery, "--kind", "state", "--figure", picture)
    assert (status, err) == (0, "")
    tables = out.split("### ")[1:]
    assert [table.splitlines()[0] for table in tables] == [
        "listops, preset mini",
        "pathfinder, preset mini",
    ]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in tables[0].splitlines()[4:]]
    cells = {row[0]: row[1:] for row in rows if row}
    assert cells["softmax"][:1] == ["128 KiB"]
    assert cells["identity"] == ["0 B", "42.0 ± 1.4", "2"]
    assert cells["chance"] == ["", "17.0", ""]
    assert next(iter(cells)) == "identity"  # the least state first
    assert len(cells) == len(ATTENTIONS.names()) + 1
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_programs_get_numbers(battery, cli):
    rows = json.loads(cli("table", battery, "--kind", "state", "--format", "json")[1])
    assert len(rows) == 2 * len(ATTENTIONS.names())
    (row,) = (x for x in rows if (x["task"], x["attention"]) == ("listops", "softmax"))
    assert row["state_bytes"] == 2**17
    assert row["seeds"] == 2
    assert row["accuracy_mean"] == pytest.approx(
        0.3 + ATTENTIONS.names().index("softmax") / 100 + 0.01
    )


def test_wrong_calls_are_refused(battery, cli, tmp_path):
    refused(cli("table", battery, "--figure", tmp_path / "x.png"), 2, "--kind state only")
    state = ("table", battery, "--kind", "state")
    refused(cli(*state, "--figure", tmp_path / "x.gif"), 2, "must end in one of .png, .svg, .pdf")
    refused(cli(*state, "--published"), 2, "no published figures")
    refused(cli(*state, "--compare", "softmax", "linear"), 2, "leave out --kind state")


def test_the_figure_shows_each_result_once(monkeypatch):
    """A point at its bytes and accuracy; what has no state is a line; unknown is left out."""
    placed = []

    def place(axes, dots, size):
        placed.extend(dots)
        return place_labels(axes, dots, size)

    monkeypatch.setattr(state_figure, "place_labels", place)
    runs = [make(name, seed, 0.5 + 0.1 * seed) for name in ("softmax", "linear", "identity")
            for seed in range(2)]  # fmt: skip
    gone = make("linear", 2)
    gone["attention"] = gone["config"]["attention"] = "gone"
    runs += [make("local", 0, status="out_of_memory"), gone]
    figure = state_figure.draw(panels(parsed(runs)))
    assert {dot.name: (dot.x, dot.y) for dot in placed} == {
        "softmax": (2**17, pytest.approx(55)),
        "linear": (4 * 2 * 32 * 33, pytest.approx(55)),
    }
    (axes,) = figure.axes
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names == ["17.0 % chance", "55.0 % identity"]
    seeds = [line.get_xydata().tolist() for line in axes.lines if line.get_marker() == "."]
    assert sorted(round(y) for dots in seeds for _, y in dots) == [50, 50, 60, 60]
    assert {dots[0][0] for dots in seeds} == {2**17, 4 * 2 * 32 * 33}
