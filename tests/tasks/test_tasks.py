"""Every task from the command line, from data in the official layouts to a record and a table."""

import re
import threading

import layouts
import numpy as np
import pytest
from common import PATIENCE, read_record, refused
from stores import prepared

from lra_bench.config import make_settings
from lra_bench.data import download
from lra_bench.data.location import locate
from lra_bench.data.store import open_store
from lra_bench.registry import TASKS
from lra_bench.tasks._listops_trees import Limits, generate, to_source
from lra_bench.tasks._pathfinder import generator

OFFICIAL = ["text", "image", "retrieval", "listops", "pathfinder", "pathx"]
# Validated at the end only, which changes none of the compiled programs.
ONCE = "--set=train.eval_every=24"


def rare(names, *others):
    """Cases of which `others` are slow: they repeat what the rest finds."""
    return [pytest.param(x, marks=pytest.mark.slow) if x in others else x for x in names]


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """What a user has: two archives and the unpacked release; where each task's data are."""
    root = tmp_path_factory.mktemp("given")
    release = root / "lra_release/lra_release"
    layouts.imdb(root / "aclImdb_v1.tar.gz", train=150, test=40)
    layouts.cifar(root / "cifar-10-binary.tar.gz", train=80, test=80)
    layouts.aan(release / "tsv_data")
    listops(release / "listops-1000")
    for side, size in ((32, 200), (128, 60)):
        images = generator.generate(generator.spec(side, 6), 0, 0, size)
        layouts.pathfinder(release / f"pathfinder{side}/curv_baseline", *images)
    fasta = layouts.proteins(root / "proteins.fasta", 600)
    layouts.proteins(fasta, 20, "Mus musculus", seed=1)
    archives = dict.fromkeys(("text", "image", "text-lm", "image-lm"), root)
    of_proteins = dict.fromkeys(("protein", "protein-concat"), fasta)
    return {**dict.fromkeys(OFFICIAL, root / "lra_release"), **archives, **of_proteins}


def listops(folder):
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name, count in (("train", 96), ("val", 32), ("test", 32)):
        rows = zip(*generate(rng, count, Limits(4, 40)), strict=True)
        text = "".join(f"{to_source(*x)}\t{value}\n" for *x, value in rows)
        (folder / f"basic_{name}.tsv").write_text("Source\tTarget\n" + text)


def source_name(task):
    return next(s.name for s in TASKS.get(task).target().sources if s.files)


@pytest.mark.ci
@pytest.mark.parametrize("task", rare(OFFICIAL, "pathx"))
def test_from_the_official_layout_to_a_record(task, given, cli, tmp_path):
    """prepare, check, show, run and table: the code paths that the real files take."""
    options = ("--preset", "smoke", "--data-dir", tmp_path / "data")
    status, out, err = cli("data", "prepare", task, "--source", given[task], *options)
    assert (status, err) == (0, "")
    assert f"prepared {task} ({source_name(task)}) in " in out
    assert "not the published data" in out
    status, out, _ = cli("data", "check", task, "--source", source_name(task), *options)
    assert status == 0, out
    assert "WRONG" not in out
    shown = tmp_path / "examples.png"
    drawn = TASKS.get(task).target().side is not None
    show = ("data", "show", task, "--source", source_name(task), *options)
    status, out, _ = cli(*show, *(("--out", shown) if drawn else ()))
    assert status == 0
    assert shown.exists() if drawn else out.count("label") == 3
    run = ("run", "--task", task, "--attention", "identity", "--out", tmp_path / "run", *options)
    assert cli(*run, ONCE, "--set", f"data.source={source_name(task)}")[0] == 0
    found = read_record(tmp_path / "run/record.json")
    assert found["status"] == "ok"
    assert found["data"]["source"] == source_name(task)
    assert found["data"]["official"] is False
    status, out, _ = cli("table", tmp_path / "run", "--published")
    assert status == 0
    assert f"Data that are not the published data: {task} ({source_name(task)})." in out


GENERATED = [name for name in TASKS.names() if not TASKS.get(name).target().sources[0].files]


@pytest.mark.ci
@pytest.mark.parametrize("task", rare(GENERATED, "pathfinder", "pathx"))
def test_generators_need_nobody(task, cli, tmp_path):
    run = ("run", "--task", task, "--preset", "smoke", "--attention", "identity", ONCE)
    assert cli(*run, "--out", tmp_path / "run")[0] == 0


@pytest.mark.ci
def test_paper_compat_finds_the_files_again_and_is_labelled(given, cli, tmp_path):
    """The path is given once; a run of other data options reads them from there.

    Its record and its table say which options those are.
    """
    data = ("--data-dir", tmp_path / "data")
    assert cli("data", "prepare", "text", "--source", given["text"], *data)[0] == 0
    run = ("run", "--task", "text", "--preset", "smoke", "--attention", "identity", *data)
    compat = ("--set", "data.validation=paper-compat")
    status, out, _ = cli(*run, *compat, "--out", tmp_path / "run")
    assert status == 0
    assert "prepared text (archive)" in out
    found = read_record(tmp_path / "run/record.json")
    assert found["config"]["data"]["validation"] == "paper-compat"
    assert "preset smoke (data.validation=paper-compat)" in cli("table", tmp_path / "run")[1]


def test_the_same_files_given_another_way_are_the_same(given, cli, tmp_path):
    options = ("--preset", "smoke", "--data-dir", tmp_path / "data")
    for path in (given["text"], given["text"] / "aclImdb_v1.tar.gz"):
        assert cli("data", "prepare", "text", "--source", path, *options)[0] == 0
    for path in (given["retrieval"], given["retrieval"] / "lra_release/tsv_data"):
        assert cli("data", "prepare", "retrieval", "--source", path, *options)[0] == 0


def test_a_changed_archive_under_the_same_name_is_noticed(cli, tmp_path):
    options = ("--preset", "smoke", "--data-dir", tmp_path / "data")
    archive = layouts.imdb(tmp_path / "aclImdb_v1.tar.gz")
    assert cli("data", "prepare", "text", "--source", archive, *options)[0] == 0
    layouts.imdb(archive, train=120)
    result = cli("data", "prepare", "text", "--source", archive, *options)
    refused(result, 1, "holds other data", "remove the folder")


def test_files_that_are_gone_are_told_as_missing(cli, tmp_path):
    """A path is remembered while the files are there."""
    folder = layouts.aan(tmp_path / "tsv_data")
    prepare = ("data", "prepare", "retrieval", "--data-dir", tmp_path / "data")
    assert cli(*prepare, "--preset", "smoke", "--source", folder)[0] == 0
    (folder / "new_aan_pairs.test.tsv").unlink()
    refused(cli(*prepare), 2, "no data for retrieval yet: get new_aan_pairs", "--source PATH")


def test_the_next_command_is_named(given, cli, tmp_path):
    options = ("--preset", "smoke", "--data-dir", tmp_path / "data")
    out = cli("data", "prepare", "listops", "--source", given["listops"], *options)[1]
    assert f"--data-dir {tmp_path / 'data'} --set data.source=release" in out.replace("\n", " ")
    refused(cli("data", "check", "listops", *options), 2, "there are data of --source release")


def test_a_picture_of_an_unknown_kind_is_refused(given, cli, tmp_path):
    options = ("--preset", "smoke", "--data-dir", tmp_path / "data")
    assert cli("data", "prepare", "image", "--source", given["image"], *options)[0] == 0
    result = cli("data", "show", "image", "--out", tmp_path / "x.xyz", *options)
    refused(result, 2, "must end in one of .png, .pdf, .svg")


class TestMissing:
    """Nothing there and no network: what is missing, from where, and how to give it."""

    @pytest.fixture(autouse=True)
    def offline(self, monkeypatch):
        def refuse(*args, **kwargs):
            raise OSError("Name or service not known")

        monkeypatch.setattr("urllib.request.urlopen", refuse)

    @pytest.mark.parametrize("task", ["text", "image"])
    def test_archives(self, task, cli, tmp_path):
        facts = TASKS.get(task).target().sources[0]
        run = ("run", "--task", task, "--preset", "smoke", "--data-dir", tmp_path / "data")
        result = cli(*run, "--out", tmp_path / "run")
        words = (facts.url, f"get {facts.files} elsewhere", f"prepare {task} --source PATH")
        refused(result, 1, *words, "Name or service not known")
        assert not (tmp_path / "run").exists()

    @pytest.mark.parametrize("task", ["retrieval", "listops", "pathfinder", "pathx"])
    def test_the_release(self, task, cli, tmp_path):
        options = ("--source", "download", "--preset", "paper", "--data-dir", tmp_path)
        result = cli("data", "prepare", task, *options)
        words = ("can't download", "lra_release.gz", f"prepare {task} --source PATH")
        refused(result, 2, *words, TASKS.get(task).target().sources[-1].files)

    def test_retrieval_by_run(self, cli, tmp_path):
        run = ("run", "--task", "retrieval", "--preset", "smoke", "--data-dir", tmp_path / "data")
        refused(cli(*run, "--out", tmp_path / "run"), 2, "new_aan_pairs.{train,eval,test}.tsv")

    def test_wrong_sources(self, cli, tmp_path):
        prepare = ("data", "prepare", "text", "--data-dir", tmp_path, "--source")
        refused(cli(*prepare, "generate"), 2, "text has no generator; valid: download, PATH of acl")
        refused(cli(*prepare, tmp_path / "nowhere"), 2, "no such file or folder", "aclImdb_v1")
        refused(cli(*prepare, tmp_path), 1, "no aclImdb_v1.tar.gz at")

    def test_a_name_server_that_hangs_costs_seconds(self, cli, tmp_path, monkeypatch):
        over = threading.Event()

        def hang(*args, **kwargs):
            over.wait(PATIENCE)
            raise OSError("at last")

        monkeypatch.setattr("urllib.request.urlopen", hang)
        monkeypatch.setattr(download, "_PROBE_SECONDS", 1.0)
        result = cli("data", "prepare", "image", "--source", "download", "--data-dir", tmp_path)
        refused(result, 1, "no answer in 1 s", "cifar-10-binary.tar.gz")
        over.set()


class TestDownload:
    """From an address that serves the file, by the same manager as from the real one."""

    @pytest.fixture
    def served(self, given, tmp_path, monkeypatch):
        import dataclasses
        import functools
        import http.server
        import threading

        from lra_bench.files.regular import sha256
        from lra_bench.tasks.text import Text

        handler = functools.partial(Quiet, directory=given["text"])
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        file = given["text"] / "aclImdb_v1.tar.gz"
        (source,) = Text.sources
        address = f"http://127.0.0.1:{server.server_port}/{file.name}"

        def publish(digest=None):
            facts = {"sha256": digest or sha256(file), "size": file.stat().st_size}
            new = dataclasses.replace(source, url=address, **facts)
            monkeypatch.setattr(Text, "sources", (new,))

        publish()
        yield publish
        server.shutdown()
        server.server_close()

    def test_prepare(self, served, cli, tmp_path):
        prepare = ("data", "prepare", "text", "--preset", "smoke", "--data-dir", tmp_path)
        status, out, err = cli(*prepare, "--source", "download")
        assert status == 0, err
        assert re.search(r"downloading http://127.0.0.1:\d+/aclImdb_v1.tar.gz \(0 MB\)", out)
        assert "prepared text (archive)" in out

    def test_another_checksum_is_refused(self, served, cli, tmp_path):
        served("0" * 64)
        prepare = ("data", "prepare", "text", "--preset", "smoke", "--data-dir", tmp_path)
        result = cli(*prepare, "--source", "download")
        assert result[0] == 1
        assert "can't be downloaded" in result[2]
        assert not [p for p in tmp_path.rglob("*") if p.is_file() and p.suffix != ".lock"]

    def test_a_kept_file_needs_no_network(self, served, cli, tmp_path, monkeypatch):
        prepare = ("data", "prepare", "text", "--data-dir", tmp_path, "--source", "download")
        assert cli(*prepare, "--preset", "smoke")[0] == 0
        monkeypatch.setattr("urllib.request.urlopen", None)
        status, out, _ = cli(*prepare, "--set", "data.max_length=100")
        assert status == 0
        assert "downloading" not in out

    def test_it_is_not_mistaken_for_data_of_another_path(self, served, cli, tmp_path):
        """What is there already of other files is refused, not called a download."""
        other = layouts.imdb(tmp_path / "aclImdb_v1.tar.gz", train=150, test=30)
        prepare = ("data", "prepare", "text", "--preset", "smoke", "--data-dir", tmp_path / "d")
        assert cli(*prepare, "--source", other)[0] == 0
        refused(cli(*prepare, "--source", "download"), 1, "holds other data")


def quiet_handler():
    import http.server

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    return Handler


Quiet = quiet_handler()

# For each option of each task's data another value; those of ListOps are in test_config.py.
NINE = {"train_size": 9, "validation_size": 9, "test_size": 9}
OPTIONS = {
    "text": {"max_length": 50, "validation": "paper-compat", "train_size": 9,
             "validation_size": 9, "test_size": 9},
    "image": {"shrink": 8, "train_size": 9, "validation_size": 9, "test_size": 9},
    "retrieval": {"max_length": 50, "train_size": 9, "validation_size": 9, "test_size": 9},
    "pathfinder": {"resolution": 64, "contour_length": 5, "distractors": False, "shrink": 4,
                   "size": 100, "seed": 1},
    "pathx": {"resolution": 32, "contour_length": 5, "distractors": False, "shrink": 16,
              "size": 30, "seed": 1},
    "text-lm": {"max_length": 50, **NINE},
    "image-lm": {"colour": "rgb", "shrink": 8, **NINE},
    "protein": {"max_length": 40, "held_out": ("Mus musculus",), **NINE},
    "protein-concat": {"max_length": 40, "held_out": ("Mus musculus",), **NINE},
}  # fmt: skip

# Options that leave the data alone and change what the model reads of them.
READ_BY_THE_MODEL = {name: {"black"} for name in ("image", "pathfinder", "pathx")}
# Such that change what is predicted or shown, or belong to another source.
ELSEWHERE = {
    "text-lm": {"objective", "tokens_per_word", "document"},
    "image-lm": {"objective", "dataset"},
    "protein": {"objective"},
    "protein-concat": {"objective"},
}


@pytest.mark.ci
@pytest.mark.parametrize("task", OPTIONS)
def test_every_data_option_does_something(task, given, tmp_path):
    """It changes the data: no option is for show."""
    usual = make_settings(task, "identity", "smoke", 0).data
    if "size" in usual:
        usual["size"] = 60
    others = READ_BY_THE_MODEL.get(task, set()) | ELSEWHERE.get(task, set())
    assert usual.keys() == OPTIONS[task].keys() | others
    before = digest(task, usual, given[task], tmp_path)
    for name, value in OPTIONS[task].items():
        assert digest(task, {**usual, name: value}, given[task], tmp_path) != before, name


@pytest.mark.parametrize("task", READ_BY_THE_MODEL)
def test_black_pixels_are_padding_if_asked_for(task, tmp_path):
    """The same store serves both."""
    pixel, padding = (TASKS.get(task).target(black=black) for black in ("pixel", "padding"))
    assert (pixel.pad_id, padding.pad_id) == (None, 0)
    for source in pixel.sources:
        places = [locate(tmp_path, each, source.name).path for each in (pixel, padding)]
        assert places[0] == places[1]


def digest(name, options, path, root):
    task = TASKS.get(name).target(**options)
    source = task.sources[0]
    location = prepared(root, task, source.name, path if source.files else None)
    return open_store(location).provenance().sha256


NYSTROMFORMER = {
    "text": (4_000, 20_000, 32, 8_000),
    "retrieval": (4_000, 30_000, 32, 800),
    "image": (1_024, 35_000, 256, 175),
    "pathfinder": (1_024, 62_400, 256, 312),
}


@pytest.mark.parametrize("task", NYSTROMFORMER)
def test_small_is_nystromformers_setting(task):
    """LRA/code/lra_config.py of that repository."""
    settings = make_settings(task, "softmax", "small", 0)
    train = settings.train
    length = TASKS.get(task).target(**settings.data).max_len
    assert (length, train.num_steps, train.batch_size, train.warmup_steps) == NYSTROMFORMER[task]
    assert (train.learning_rate, train.schedule, train.weight_decay) == (1e-4, "linear", 0)
    assert settings.model.dropout == 0.1


def test_paper_image_is_the_papers():
    """lra_benchmarks/image/configs/cifar10/base_cifar10_config.py."""
    settings = make_settings("image", "softmax", "paper", 0)
    model, train = settings.model, settings.train
    sizes = (model.num_layers, model.emb_dim, model.ffn_dim, model.num_heads, model.head_dim)
    assert sizes == (1, 32, 64, 1, 32)
    assert (model.pooling, model.dropout, train.schedule) == ("cls", 0.3, "cosine")
    assert (train.learning_rate, train.num_steps, train.warmup_steps) == (5e-4, 35_000, 175)
