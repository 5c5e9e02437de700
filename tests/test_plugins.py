"""Plug-ins that are broken in any way: they are named and left out, and stop nothing else."""

import copy
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from common import PATIENCE, ROOT, refused
from plugin_cases import GOOD, HEAD, TASK, make_package

from lra_bench.config import make_settings
from lra_bench.errors import UsageError
from lra_bench.registry import ATTENTIONS, TASKS
from lra_bench.runtime.plugins import Broken, guarded

WHERE = "{0}/plugin.py, line "
# Attentions: what the module does after its first line, and what is said of it.
BROKEN = {
    "syntax": ("def f(:\n", WHERE + "2: SyntaxError"),
    "indented": ("def f():\nreturn 1\n", WHERE + "3: IndentationError"),
    "division": ("1 / 0\n", WHERE + "2: ZeroDivisionError: division by zero"),
    "exits": ("import sys\nsys.exit(3)\n", WHERE + "3: SystemExit: 3"),
    "exits-well": ("import sys\nsys.exit()\n", WHERE + "3: SystemExit"),
    "interrupts": ("raise KeyboardInterrupt\n", WHERE + "2: KeyboardInterrupt"),
    "base": ("class E(BaseException): pass\nraise E('x')\n", WHERE + "3: E: x"),
    "generator": ("raise GeneratorExit\n", WHERE + "2: GeneratorExit"),
    "memory": ("raise MemoryError\n", WHERE + "2: MemoryError"),
    "recursion": ("def f(): f()\nf()\n", "RecursionError"),
    "no-module": ("import no_such_module_at_all\n", WHERE + "2: ModuleNotFoundError"),
    "in-a-library": ("import json\njson.loads('{')\n", WHERE + "3: JSONDecodeError"),
    "unprintable": (
        "class E(Exception):\n    def __str__(self): raise ValueError\nraise E\n",
        WHERE + "4: E",
    ),
    "exits-in-its-message": (
        "class E(BaseException):\n    def __str__(self): raise SystemExit(5)\nraise E\n",
        WHERE + "4: E",
    ),
    "closes-the-streams": (
        "import sys\nsys.stdout.close()\nsys.stderr.close()\n1 / 0\n",
        WHERE + "5: ZeroDivisionError",
    ),
    "hostile-message": ("raise ValueError('\\x1b[31mred\\nmore')\n", r"ValueError: \x1b[31mred"),
    "long-message": ("raise ValueError('x' * 10**6)\n", "xxx..."),
    "taken": (GOOD.format("softmax"), "'softmax' is registered twice: by lra_bench.attentions.so"),
    "registers-nothing": ("", "registers no attention"),
    "no-name": ("@register_attention\ndef f(q, k, v, mask): return v\n", "needs a name"),
    "name-number": ("register_attention(3)\n", "needs a name"),
    "no-callable": ("register_attention('it')(3)\n", "'it' is no function and no class"),
    "too-few": (
        "@register_attention('it')\ndef f(q, k): return q\n",
        "called with (q, k, v, mask)",
    ),
    "no-call": ("@register_attention('it')\nclass C: pass\n", "its class has no __call__"),
    "not-built": (
        "@register_attention('it')\nclass C:\n    def __call__(self, q, k, v, mask): return v\n",
        "can't be built as cls(dims, rngs=rngs)",
    ),
    "promise": ("register_attention('it', exact='yes')\n", "a promise is neither True nor False"),
    "state": ("register_attention('it', state=3)\n", "state is no function"),
    "option-object": (
        "@register_attention('it')\ndef f(q, k, v, mask, *, o=object()): return v\n",
        "the default of its option 'o' is no JSON value: object",
    ),
    "option-nan": (
        "@register_attention('it')\ndef f(q, k, v, mask, *, o=float('nan')): return v\n",
        "the default of its option 'o' is no JSON value: float",
    ),
    "option-none": (
        "@register_attention('it')\ndef f(q, k, v, mask, *, o): return v\n",
        "argument: 'o'",
    ),
    **{
        f"name-{number}": (f"register_attention({name!r})(lambda q, k, v, mask: v)\n", "name ")
        for number, name in enumerate(["a\x1b[31m", "a\nb", "a|b", "../a", "", "A", "a" * 65])
    },
}
BROKEN_TASKS = {
    "no-presets": (TASK.format("it"), "task 'it' has no presets"),
    "presets-list": (TASK.format("it") + "PRESETS = ['smoke']\n", "task 'it' has no presets"),
    "presets-empty": (TASK.format("it") + "PRESETS = {}\n", "task 'it' has no presets"),
    "preset-number": (TASK.format("it") + "PRESETS = {'smoke': 3}\n", "PRESETS of"),
    "preset-name": (TASK.format("it") + "PRESETS = {'a\\x1b|': dict}\n", "PRESETS of"),
    "no-class": ("register_task('it')(3)\n", "task 'it' is no class"),
    "empty-class": ("@register_task('it')\nclass C: pass\n", "task 'it' lacks name, num_classes"),
    "other-name": (TASK.format("it").replace('= "it"', '= "that"'), "calls itself 'that'"),
    "option-object": (
        TASK.format("it").replace("size: int = 10", "size: object = object"),
        "the default of its option 'size' is no JSON value: type",
    ),
    "no-defaults": (TASK.format("it").replace("size: int = 10", "size: int"), "missing 1 required"),
    "no-sources": (TASK.format("it").replace('(Source("generate", "none"),)', "()"), "no sources"),
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Make a package importable; afterwards both registries are as they were."""
    for registry in (ATTENTIONS, TASKS):
        registry.names()
        for name in ("_entries", "_problems", "_unreported", "_begun", "_kept"):
            monkeypatch.setattr(registry, name, copy.copy(getattr(registry, name)))
    monkeypatch.syspath_prepend(tmp_path)
    count = iter(range(99))

    def make(text, group="attentions", point="it", module=None, value=None):
        module = module or f"third_party_{next(count)}"
        make_package(tmp_path, module, HEAD + text, {point: value or f"{module}.plugin"}, group)
        return module

    yield make
    for name in [name for name in sys.modules if name.startswith("third_party_")]:
        del sys.modules[name]


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_attention_is_named_and_left_out(case, package, cli):
    text, problem = BROKEN[case]
    module = package(text)
    before = dict(ATTENTIONS._entries)
    refused(
        cli("run", "--attention", "it"), 2, "attention it can't be loaded", problem.format(module)
    )
    status, out, err = cli("list", "attentions", "--json")
    assert (status, set(json.loads(out)["attentions"])) == (0, set(before))
    assert err.startswith("lra-bench: attention plug-in 'it' left out: ")
    assert len(err.splitlines()) == 1
    assert err.strip().isprintable()
    assert len(err) < 500
    assert dict(ATTENTIONS._entries) == before
    assert cli("list")[2] == ""  # once is enough


@pytest.mark.parametrize("case", BROKEN_TASKS)
def test_a_broken_task_is_named_and_left_out(case, package, cli):
    text, problem = BROKEN_TASKS[case]
    package(text, "tasks")
    before = TASKS._entries.keys() - {"it"}
    refused(cli("run", "--task", "it"), 2, "task it can't be loaded", problem)
    status, out, err = cli("list", "presets")
    assert status == 0
    assert "listops mini" in out
    assert err.count("left out: ") == 1
    assert TASKS._entries.keys() == before


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("no_such_module_at_all", "ModuleNotFoundError: No module named 'no_such_module_at_all'"),
        ("third_party_0.plugin:nothing", "AttributeError"),
        ("third_party_0.plugin:attend:x", "can't be loaded"),
        ("!!", "can't be loaded"),
    ],
)
def test_a_wrong_entry_point_is_named(value, problem, package, cli):
    package(GOOD.format("other"), value=value)
    refused(cli("run", "--attention", "it"), 2, problem)


def test_metadata_that_cannot_be_read_leaves_the_others_usable(package, tmp_path):
    package(GOOD.format("good"))
    broken = tmp_path / "broken-1.0.dist-info"
    broken.mkdir()
    (broken / "entry_points.txt").write_bytes(b"[lra_bench.attentions]\n\xff\xfe\nno equals sign\n")
    assert "good" in ATTENTIONS.names()


def test_what_was_registered_before_the_fault_is_dropped(package):
    package(GOOD.format("first") + GOOD.format("second") + "1 / 0\n")
    with pytest.raises(UsageError, match="left out as broken: it"):
        ATTENTIONS.get("first")
    assert "second" not in ATTENTIONS.names()


def test_of_two_plugins_of_one_name_the_second_is_left_out(package, capsys):
    package(GOOD.format("same"), point="one")
    package(GOOD.format("same"), point="two")
    assert "same" in ATTENTIONS.names()
    err = capsys.readouterr().err
    assert err.count("left out") == 1
    assert "'same' is registered twice: by third_party_" in err


def test_a_plugin_changes_neither_where_the_command_writes_nor_what_stops_it(
    package, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    numbers = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
    ignored = "".join(f"signal.signal({number:d}, signal.SIG_IGN)\n" for number in numbers)
    package(
        "import os, signal, sys\nos.chdir('/')\nos.umask(0o777)\nsys.stdout = sys.stderr = None\n"
        f"{ignored}{GOOD.format('good')}"
    )
    before = ([signal.getsignal(number) for number in numbers], sys.stdout, sys.stderr)
    assert "good" in ATTENTIONS.names()
    assert ([signal.getsignal(number) for number in numbers], sys.stdout, sys.stderr) == before
    assert Path.cwd() == tmp_path
    file = tmp_path / "file"
    file.touch()
    assert file.stat().st_mode & 0o600 == 0o600


@pytest.mark.ci
def test_a_plugin_that_forks_does_not_do_the_command_twice(tmp_path):
    make_package(tmp_path, "forks", f"{HEAD}import os\nos.fork()\n{GOOD.format('good')}",
                 {"good": "forks.plugin"})  # fmt: skip
    command = [sys.executable, "-m", "lra_bench", "list", "attentions", "--json"]
    path = os.pathsep.join([str(ROOT), str(tmp_path)])
    out = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True,
                         check=True, timeout=PATIENCE).stdout  # fmt: skip
    assert "good" in json.loads(out)["attentions"]


def test_a_run_of_another_attention_does_not_import_a_plugin(package, capsys):
    module = package("1 / 0\n")
    assert ATTENTIONS.get("softmax").name == "softmax"
    assert f"{module}.plugin" not in sys.modules
    assert capsys.readouterr() == ("", "")


def test_commands_that_need_no_plugin_say_nothing_of_a_broken_one(package, cli):
    module = package("1 / 0\n")
    for command in (
        ("table", "--published"),
        ("list", "tasks"),
        ("efficiency", "--attentions", "softmax", "--size", "tiny"),
    ):
        err = cli(*command)[2]
        assert "left out" not in err
        assert f"{module}.plugin" not in sys.modules


def test_options_may_be_tuples_and_declare_their_ranges(package):
    package(
        "from typing import Annotated\nfrom lra_bench.contracts import Range\n"
        "@register_attention('it')\n"
        "def f(q, k, v, mask, *, widths=(1, 2), w=None, rate: Annotated[float, Range(0, 1)] = 1):\n"
        "    return v\n"
    )

    def options(*overrides):
        return make_settings("listops", "it", "smoke", 0, overrides).attention_options

    assert options() == {"widths": (1, 2), "w": None, "rate": 1}
    changed = options("attention.widths=[3]", "attention.rate=0.5", "attention.w=none")
    assert changed == {"widths": (3,), "w": None, "rate": 0.5}
    with pytest.raises(UsageError, match=r"attention\.rate=2: must be a number from 0 to 1"):
        options("attention.rate=2")


def test_an_option_without_a_range_may_be_its_default_and_any_fraction(package):
    package(
        "@register_attention('it')\n"
        "def f(q, k, v, mask, *, bias=-1.0, low=-1e9, many=2**21, none=-1, scale: float = 1):\n"
        "    return v\n"
    )

    def options(*overrides):
        return make_settings("listops", "it", "smoke", 0, overrides).attention_options

    usual = {"bias": -1.0, "low": -1e9, "many": 2**21, "none": -1, "scale": 1}
    assert options() == usual
    changes = ("attention.bias=1e7", "attention.low=-0.5", "attention.none=3", "attention.scale=-2")
    assert options(*changes) == {**usual, "bias": 1e7, "low": -0.5, "none": 3, "scale": -2.0}
    with pytest.raises(UsageError, match=r"attention\.many=0: must be .* from 1 to 2,097,152"):
        options("attention.many=0")
    with pytest.raises(UsageError, match=r"attention\.none=-2: must be .* from -1 to 1,048,576"):
        options("attention.none=-2")


@pytest.mark.parametrize(
    "text", ["print('Welcome!')", "import sys\nsys.stderr = sys.stdout = None"]
)
def test_the_streams_are_as_before_an_import(text, package):
    package(f"{text}\n" + GOOD.format("polite"))
    before = sys.stdout, sys.stderr
    assert "polite" in ATTENTIONS.names()
    assert (sys.stdout, sys.stderr) == before


def test_what_a_plugin_prints_is_not_in_the_output(package, cli):
    package("print('Welcome!')\n" + GOOD.format("polite"))
    status, out, err = cli("list", "attentions", "--json")
    assert status == 0
    assert "polite" in json.loads(out)["attentions"]
    assert err == "Welcome!\n"


@pytest.mark.parametrize("swallowed", [False, True])
def test_an_import_that_hangs_is_interrupted(swallowed, package, cli, monkeypatch):
    """Also one that goes on when it is interrupted."""
    monkeypatch.setenv("LRA_BENCH_PLUGIN_SECONDS", "0.2")
    wait = "time.sleep(9999)"
    text = f"try:\n    {wait}\nexcept BaseException:\n    pass\n{wait}\n" if swallowed else wait
    module = package(f"import time\n{text}\n")
    before = signal.getsignal(signal.SIGALRM), signal.getsignal(signal.SIGINT)
    result = cli("run", "--attention", "it")
    refused(result, 2, f"{module}/plugin.py, line ", "takes longer than 0.2 s", "PLUGIN_SECONDS")
    assert (signal.getsignal(signal.SIGALRM), signal.getsignal(signal.SIGINT)) == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


@pytest.mark.parametrize("text", ["soon", "-1", "nan", "1e9", "\x1b"])
def test_a_wrong_time_limit_is_told(text, package, cli, monkeypatch):
    package(GOOD.format("it"))
    monkeypatch.setenv("LRA_BENCH_PLUGIN_SECONDS", text)
    refused(cli("run", "--attention", "it"), 2, "LRA_BENCH_PLUGIN_SECONDS=", "from 0 to 86400")


def test_plugins_can_be_left_out(package, cli, monkeypatch):
    package(GOOD.format("it"))
    monkeypatch.setenv("LRA_BENCH_PLUGIN_SECONDS", "0")
    refused(
        cli("run", "--attention", "it"), 2, "LRA_BENCH_PLUGIN_SECONDS=0 leaves out all plug-ins"
    )


def test_an_alarm_of_the_caller_still_rings():
    rung = threading.Event()
    before = signal.signal(signal.SIGALRM, lambda *_: rung.set())
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        guarded(lambda: None, "x")
        assert rung.wait(PATIENCE)
    finally:
        signal.signal(signal.SIGALRM, before)


@pytest.fixture
def heard():
    """Python hears Ctrl-C, even if the tests run in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize("wrap", ["{0}", "try:\n    {0}\nexcept BaseException:\n    pass"])
def test_ctrl_c_during_an_import_stops_the_command(wrap, package):
    """Even if the module swallows the interruption."""
    package("import signal\n" + wrap.format("signal.raise_signal(signal.SIGINT)") + "\n")
    with pytest.raises(KeyboardInterrupt):
        ATTENTIONS.names()


def test_in_another_thread_a_broken_module_is_left_out_too():
    problems = []

    def attempt():
        try:
            guarded(lambda: sys.exit(1), "x")
        except Broken as error:
            problems.append(str(error))

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    assert problems == ["SystemExit: 1"]


STUBBORN = """
import time
while True:
    try:
        time.sleep(1)
    except BaseException:
        pass
"""


@pytest.mark.slow
def test_an_import_that_cannot_be_interrupted_ends_the_command(tmp_path, environment):
    make_package(tmp_path, "stubborn", STUBBORN, {"it": "stubborn.plugin"})
    paths = [str(tmp_path), *environment.get("PYTHONPATH", "").split(os.pathsep)]
    env = {**environment, "PYTHONPATH": os.pathsep.join(paths).rstrip(os.pathsep)}
    env["LRA_BENCH_PLUGIN_SECONDS"] = "0.5"
    command = [sys.executable, "-m", "lra_bench", "list", "attentions"]
    result = subprocess.run(command, env=env, capture_output=True, text=True, timeout=PATIENCE)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert "the import of stubborn.plugin hangs and can't be interrupted" in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_whose_plugin_hangs(number, tmp_path, environment):
    marker = tmp_path / "started"
    text = f"import pathlib, time\npathlib.Path({str(marker)!r}).touch()\ntime.sleep(9999)\n"
    make_package(tmp_path, "sleepy", text, {"it": "sleepy.plugin"})
    paths = [str(tmp_path), *environment.get("PYTHONPATH", "").split(os.pathsep)]
    env = {**environment, "PYTHONPATH": os.pathsep.join(paths).rstrip(os.pathsep)}
    command = [sys.executable, "-m", "lra_bench", "run", "--attention", "it"]
    process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
    while not marker.exists():
        time.sleep(0.05)
    process.send_signal(number)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "Traceback" not in err


OWN = {
    "attentions": ("register_attention", "def f(q, k, v, mask): return v\n"),
    "tasks": ("register_task", "class C: pass\n"),
}


@pytest.mark.parametrize("group", OWN)
def test_a_broken_file_of_the_project_is_left_out(group, package, cli, monkeypatch, tmp_path):
    """The same as a plug-in: the other files work, and it says why when it is asked for."""
    registry = {"attentions": ATTENTIONS, "tasks": TASKS}[group]
    module = sys.modules[registry.package]
    (tmp_path / "my_file.py").write_text("\n1 / 0\n")
    monkeypatch.setattr(module, "__path__", [*module.__path__, str(tmp_path)])
    kind = registry.kind
    result = cli("run", f"--{kind}", "my-file")
    refused(result, 2, f"{kind} my-file can't be loaded: my_file.py, line 2: ZeroDivisionError")
    status, out, err = cli("list", group)
    assert status == 0
    assert len(out.splitlines()) > 6
    assert err.startswith(f"lra-bench: {kind} file 'my-file' left out: my_file.py, line 2: ZeroDiv")
