"""The parts of the report page in words: commands, tables, docstrings, provenance."""

import contextlib
import copy
import dataclasses
import html
import inspect
import json
import shlex

import pytest
import report_cases as cases
from efficiency_cases import CONFIG, law, measured
from junk import with_junk

from lra_bench.cli import parser
from lra_bench.cli.efficiency import _choice
from lra_bench.config import make_settings
from lra_bench.efficiency import plan
from lra_bench.efficiency import records as efficiency_records
from lra_bench.efficiency.measurement import Measurement
from lra_bench.errors import RunError
from lra_bench.records import record
from lra_bench.records.find import collect
from lra_bench.registry import ATTENTIONS
from lra_bench.report import (
    bubbles,
    docstring,
    leaderboard,
    mechanisms,
    provenance,
    reproduce,
    settings,
)
from lra_bench.report.inputs import Inputs, gather, run_tables
from lra_bench.report.markup import Html, prose, tag
from lra_bench.report.reproduce import again
from lra_bench.scaling import groups, rows
from lra_bench.settings import Origin


def run_table(runs):
    (table,) = run_tables(cases.parsed(runs))
    return table


class TestMarkup:
    def test_text_is_escaped_and_markup_is_not(self):
        element = tag("p", "a < b", tag("b", "&"), None, "", class_="x", hidden=True, data_of='"')
        assert element == '<p class="x" hidden data-of="&quot;">a &lt; b<b>&amp;</b></p>'
        assert isinstance(element, Html)

    def test_prose(self):
        shown = prose("See `x < y`,\n  arXiv:2009.14794.")
        link = '<a href="https://arxiv.org/abs/2009.14794">arXiv:2009.14794</a>'
        assert shown == f"See <code>x &lt; y</code>, {link}."


class TestSettings:
    """Each setting is said once: for all results of a task, or with the result that has it."""

    def test_those_of_all_and_those_of_one(self):
        table = run_table([
            cases.run("text", "linformer"),
            cases.run("text", "performer-softmax"),
            cases.run("listops", "linformer"),
        ])  # fmt: skip
        _, *folds = settings.section([table]).split("<details")
        for result in table.results:
            place, mine = table.tasks.index(result.task), settings.own(table, result)
            assert f'"#settings-{table.name}-{place}"' in mine
            assert f' id="settings-{table.name}-{place}"' in folds[place]
            for key, value in settings.flat(result).items():
                line = html.escape(f"{key} = {json.dumps(value)}")
                assert (line in mine) != (line in folds[place]), key
        assert "attention_options" in folds[0]
        assert "attention_options" not in folds[1]

    def test_a_setting_that_an_older_record_lacks_is_not_shared(self):
        runs = [cases.run("text", name) for name in ("softmax", "identity")]
        del runs[1]["config"]["train"]["sequence_devices"]
        table = run_table(runs)
        old, new = (
            "train.sequence_devices" in settings.own(table, table.rows[name]["text"])
            for name in ("identity", "softmax")
        )
        assert (old, new) == (False, True)
        assert "train.sequence_devices" not in settings.section([table])


CHANGED = [
    {},
    {"seed": 7, "preset": "small", "task": "pathfinder"},
    {"overrides": ("train.num_steps=300", "train.learning_rate=1e-6", "data.max_length=128")},
    {"overrides": ("attention.causal=True",)},
    {"overrides": ("attention.num_features=64", "attention.estimator=hyperbolic"),
     "attention": "performer-softmax"},
    {"overrides": ("train.num_devices=2", "model.dtype=bfloat16", "model.dropout=0.25")},
    {"task": "retrieval", "preset": "paper"},
    {"task": "text", "overrides": ("train.weight_decay=1",)},
]  # fmt: skip
ORIGIN = Origin("runs/the first one", "0" * 64, "listops", "softmax", 90, 0.31)


class TestCommands:
    """The command of a record gives the config of that record."""

    @pytest.mark.parametrize("changes", CHANGED)
    def test_equal_config(self, changes):
        self.check(*cases.parsed([cases.run(**changes)]))

    def test_a_start_with_parameters_of_another(self):
        values = cases.run(attention="performer-softmax")
        origin = {name: getattr(ORIGIN, name) for name in ORIGIN.__dataclass_fields__}
        values["config"]["init_from"] = values["init_from"] = origin
        assert self.check(*cases.parsed([values])).init_from.as_posix() == ORIGIN.path

    @pytest.mark.ci
    def test_every_record_of_our_results(self, repository):
        records = collect([repository / "results"])
        for run in records:
            # Older records lack settings that came later; the runs did what the defaults say.
            config = copy.deepcopy(run.config)
            defaults = ATTENTIONS.get(run.attention).options()
            config["attention_options"] = defaults | config["attention_options"]
            config["train"].setdefault("sequence_devices", 1)
            self.check(dataclasses.replace(run, config=config))

    def check(self, run):
        repeat = again(run)
        assert repeat.doubt == ""
        program, *words = shlex.split(repeat.command)
        assert program == "lra-bench"
        args = parser().parse_args(words)
        names = (args.task, args.attention, args.preset, args.seed)
        origin = Origin(**run.config["init_from"]) if args.init_from else None
        config = json.loads(json.dumps(make_settings(*names, args.set, origin).as_dict()))
        assert config == {"init_from": None, **json.loads(json.dumps(run.config))}
        return args

    def test_an_attention_of_a_file_of_a_user(self, tmp_path):
        """Its options and its code are in the folder of the run, so nothing need be known here."""
        values = cases.run(overrides=["train.num_steps=300"])
        usual = {**values["config"]["attention_options"], "scale": 1.0}
        file = {"name": "mine.py", "sha256": "0" * 64, "options": usual}
        values["attention"] = values["config"]["attention"] = "mine"
        values["config"]["attention_file"] = file
        values["config"]["attention_options"] = {**usual, "scale": 2.0}
        (run,) = cases.parsed([values])
        assert "--attention mine.py:mine " in again(run).command
        (tmp_path / "attention.py").touch()
        run = dataclasses.replace(run, path=tmp_path / "record.json")
        repeat = again(run)
        assert repeat.doubt == ""
        assert f"--attention {tmp_path}/attention.py:mine " in repeat.command
        assert "--set attention.scale=2.0 --set train.num_steps=300" in repeat.command

    def test_names_that_are_unknown_here_are_doubted(self):
        values = cases.run()
        values["attention"] = values["config"]["attention"] = "theirs; rm -rf"
        repeat = again(*cases.parsed([values]))
        assert "unknown attention" in repeat.doubt
        assert shlex.split(repeat.command)[5] == "theirs; rm -rf"
        values = cases.run()
        values["config"]["train"]["momentum"] = 0.9
        assert again(*cases.parsed([values])).doubt == "This version has no train.momentum=0.9."


class TestEfficiencyCommands:
    @pytest.mark.ci
    def test_every_group_of_our_results(self, repository):
        """The command of a group measures all its cells, with the same settings."""
        lines = efficiency_records.collect([repository / "results"])
        every = groups.groups(rows.from_lines(lines))
        assert every
        for group in every:
            _, *words = shlex.split(reproduce.command(group))
            asked = plan.cells(_choice(parser().parse_args(words), None))
            again = rows.from_lines(Measurement(x, group.first.machine) for x in asked)
            kinds = {(row.setting, row.label, row.length) for row in again}
            assert {(row.setting, row.label, row.length) for row in group.rows} <= kinds

    def test_options(self):
        asked = plan.Choice(("performer-relu",), (64,), overrides=("attention.num_features=8",))
        lines = [Measurement(cell, "here") for cell in plan.cells(asked)]
        for group in groups.groups(rows.from_lines(lines)):
            assert "--set attention.num_features=8" in reproduce.command(group)

    def test_settings_that_are_not_the_presets(self):
        changes = ("model.dropout=0.0", "train.clip_norm=0.5", "model.remat=True")
        asked = plan.Choice(
            ("linear",), (64,), scopes=("train",), sizes=("text",), overrides=changes
        )
        lines = [Measurement(cell, "here") for cell in plan.cells(asked)]
        (group,) = groups.groups(rows.from_lines(lines))
        for change in changes:
            assert f"--set {change}" in reproduce.command(group)

    def test_settings_that_no_command_can_ask_for(self):
        other = {**CONFIG, "model": {**CONFIG["model"], "num_heads": 3}}
        for lines in (law("theirs", 0.01, 1.0), law("linear", 0.01, 1.0, config=other)):
            (group,) = groups.groups(measured(lines))
            assert reproduce.command(group) is None


class TestBoard:
    def test_entries(self):
        runs = [cases.run(seed=seed, accuracy=0.4 + 0.02 * seed) for seed in range(3)]
        runs += [cases.run(attention="linear", status="diverged"),
                 cases.run("image", accuracy=0.105), cases.run("text", accuracy=0.6),
                 cases.run("listops", "linformer", steps_per_second=15.0)]  # fmt: skip
        table = run_table(runs)
        assert table.tasks == ("listops", "text", "image")
        rows = {row.attention: row for row in table.board.rows}
        columns = leaderboard.columns(table)
        listops, text, image = columns[:3]
        assert "†" in text.title
        assert "†" not in listops.title + image.title
        assert "42.0<small> ± 2.0</small>" in listops.of(rows["softmax"]).shown
        assert listops.of(rows["softmax"]).value == pytest.approx(0.42)
        assert "FAIL</span><small> diverged" in listops.of(rows["linear"]).shown
        assert listops.of(rows["linear"]).value is None
        assert "at chance, 10.5%" in image.of(rows["softmax"]).shown
        assert image.of(rows["linear"]).shown == ""
        others = {str(column.title): column for column in columns[3:]}
        assert others["steps/s / softmax's"].of(rows["linformer"]).value == pytest.approx(3)
        assert "(!)" in others["parameters / softmax's"].of(rows["linformer"]).shown

    def test_seeds_at_chance_and_results_no_better_than_without_attention(self):
        runs = [
            cases.run("image", seed=seed, accuracy=a) for seed, a in enumerate((0.105, 0.4, 0.5))
        ]
        runs += [cases.run("image", "identity", seed, accuracy=0.3) for seed in range(3)]
        table = run_table(runs)
        image = leaderboard.columns(table)[0]
        shown = {row.attention: image.of(row).shown for row in table.board.rows}
        assert "33.5<small> ± 20.5</small> <abbr" in shown["softmax"]
        assert ">(-)</abbr>" in shown["softmax"]
        assert "(1 of 3 at chance)</small>" in shown["softmax"]
        assert '10.50<small class="fail"> at chance</small>' in shown["softmax"]
        assert "(-)" not in shown["identity"]
        assert "(-): not significantly better than identity" in leaderboard.section(
            [table], with_published=False
        )
        assert ">(-)</abbr>" in mechanisms.section(["softmax"], [table])

    def test_notes_explain_the_signs_that_are_shown(self):
        runs = [cases.run(attention="linformer"), cases.run("image", accuracy=0.105)]
        text = leaderboard.section([run_table(runs)], with_published=False)
        assert "(!): over 10 % more parameters than softmax." in text
        assert "At chance: a seed not 3 standard errors" in text
        assert "not the published data" not in text
        text = leaderboard.section(
            [run_table([cases.run("text", accuracy=0.6)])], with_published=False
        )
        assert "† Data that are not the published data: text (release)." in text
        assert "At chance" not in text

    def test_speeds_of_other_devices_are_not_compared(self):
        other = cases.run(attention="linear", environment={"device_kind": "cpu"})
        table = run_table([cases.run(), other])
        rows = {row.attention: row for row in table.board.rows}
        (speed,) = [c for c in leaderboard.columns(table) if c.title == "steps/s / softmax's"]
        assert speed.of(rows["softmax"]).shown
        assert speed.of(rows["linear"]).shown == ""

    def test_notes_are_of_columns_that_are_there(self):
        with_speed, without = run_table([cases.run()]), run_table([cases.run(attention="linear")])
        assert "Steps/s and peak memory" in leaderboard.section([with_speed], with_published=False)
        assert "Steps/s" not in leaderboard.section([without], with_published=False)

    def test_averages_and_marks(self):
        tasks = ("listops", "text", "retrieval", "image", "pathfinder")
        runs = [
            cases.run(task, name, seed, accuracy=accuracy + 0.001 * seed)
            for task in tasks
            for name, accuracy in (("softmax", 0.9), ("linear", 0.7), ("reformer", 0.6))
            for seed in range(3)
        ]
        table = run_table(runs)
        rows = {row.attention: row for row in table.board.rows}
        (average,) = [c for c in leaderboard.columns(table) if c.title == "average of 5 %"]
        entry = average.of(rows["softmax"])
        assert entry.value == pytest.approx(0.901)
        assert 'class="best"' in entry.shown
        assert 'class="cell best"' in leaderboard.leaderboard(table)

    def test_presets_never_share_a_table(self):
        runs = [cases.run(), cases.run(preset="small"),
                cases.run(overrides=("train.num_steps=300",))]  # fmt: skip
        tables = run_tables(cases.parsed(runs))
        titles = ["mini", "mini (train.num_steps=300)", "small"]
        assert [table.title for table in tables] == titles
        assert [table.tags.split()[0] for table in tables] == ["preset-0", "preset-0", "preset-1"]

    def test_the_details_behind_a_cell(self):
        values = cases.run(seed=3, overrides=("train.num_steps=300",))
        values["environment"]["git_commit"] = "0123456789abcdef-dirty"
        text = leaderboard.section([run_table([values])], with_published=False)
        for shown in ("40.00", "94,090 (1.00 of softmax", "1 GiB", "0123456789ab-dirty", "TPU v5",
                      "preset mini but train.num_steps=300", "--set train.num_steps=300",
                      "lra-bench run --task listops"):  # fmt: skip
            assert shown in text

    def test_published_figures_have_a_block_of_their_own(self):
        text = leaderboard.section([run_table([cases.run()])], with_published=True)
        ours, theirs = text.split('id="published"')
        assert "36.37" in theirs
        assert "36.37" not in ours
        assert "40.0" not in theirs


class TestDocstring:
    @pytest.mark.parametrize("name", ATTENTIONS.names())
    def test_every_attention_of_ours(self, name):
        entry = ATTENTIONS.get(name)
        parts = docstring.parse(inspect.getdoc(entry.target))
        assert parts.about
        assert parts.cost.startswith("Time O(")
        assert "memory" in parts.cost + " ".join(parts.about)
        assert parts.references
        assert not any("Time O(" in text or "References:" in text for text in parts.about)

    def test_options(self):
        parts = docstring.parse(
            "One.\n\nTwo: x.\nTime O(l), memory O(1).\n\nArgs:\n    a: what\n        it is.\n"
            "    b, c: both.\n\nReferences:\n    Me 2020."
        )
        assert parts.about == ["One.", "Two: x."]
        assert parts.cost == "Time O(l), memory O(1)."
        assert parts.options == {"a": "what it is.", "b": "both.", "c": "both."}
        assert parts.references == "Me 2020."


def test_unpublished_data_are_flagged(tmp_path):
    cases.write(tmp_path / "a", cases.run("text"))
    cases.write(tmp_path / "b", cases.run("image"))
    text = provenance.section(gather([tmp_path]))
    assert "no †" in text
    assert "1,000 / 100 / 2,000" in text


@pytest.mark.ci
@pytest.mark.parametrize("half", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_junk_anywhere_in_a_record(tmp_path, half):
    """Any record that can be read can be shown; each place gets every second kind of junk."""
    shown = 0
    for changed in with_junk(cases.run(), half):
        (tmp_path / record.FILE).write_text(json.dumps(changed))
        with contextlib.suppress(RunError):
            run = record.read(tmp_path / record.FILE)
            tables = run_tables([run])
            leaderboard.section(tables, with_published=False)
            mechanisms.section([run.attention], tables)
            provenance.section(Inputs([run], [], [], {}))
            bubbles.section(tables, {})
            shown += 1
    assert shown > 100
