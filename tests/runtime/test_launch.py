"""Which processes belong to a run: by flags, by Slurm, by a TPU slice."""

import contextlib
import http.server
import socket
import threading

import jax
import pytest
from common import SMOKE, refused
from launching import slurm

from lra_bench.errors import UsageError
from lra_bench.runtime import devices, launch

pytestmark = pytest.mark.ci


class TestWhoIsThere:
    def test_one_process_by_flag(self):
        assert launch.by_flags(None, 1, None) is None

    def test_flags(self):
        place = launch.by_flags("[::1]:80", 3, 2)
        assert place == launch.Membership("[::1]:80", size=3, index=2)

    @pytest.mark.parametrize(
        ("nodes", "first"),
        [
            ("node1", "node1"),
            ("node1,node2", "node1"),
            ("tpu[007-015,020]", "tpu007"),
            ("a[3,5],b", "a3"),
            ("a[7]", "a7"),
            ("a,b[1-2]", "a"),
        ],
    )
    def test_the_first_host_of_a_slurm_step(self, nodes, first):
        env = {**slurm(1), "SLURM_STEP_NODELIST": nodes}
        assert launch.by_slurm(env).coordinator.rpartition(":")[0] == first

    def test_steps_of_a_job_have_ports_of_their_own(self):
        one, two = (
            launch.by_slurm({**slurm(0), "SLURM_JOB_ID": "4095", "SLURM_STEP_ID": step})
            for step in "01"
        )
        ports = {int(place.coordinator.rpartition(":")[2]) for place in (one, two)}
        assert ports == {65_535, 61_440}

    def test_one_task_is_alone_whatever_the_job_has(self):
        """The batch script of a job of many tasks, and a step of one."""
        env = {**slurm(0), "SLURM_NTASKS": "8"}
        del env["SLURM_STEP_NUM_TASKS"]
        assert launch.by_slurm(env) is None
        assert launch.by_slurm({**env, "SLURM_STEP_NUM_TASKS": "1"}) is None

    @pytest.mark.parametrize(
        "name", ["SLURM_JOB_ID", "SLURM_STEP_NUM_NODES", "SLURM_STEP_NODELIST", "SLURM_PROCID"]
    )
    def test_a_step_that_is_half_described(self, cli, monkeypatch, name):
        for variable, text in slurm(1).items():
            monkeypatch.setenv(variable, text)
        for text, problem in ((None, f"but {name} is not set"), ("", f"but {name} is not set")):
            monkeypatch.delenv(name) if text is None else monkeypatch.setenv(name, text)
            refused(cli(*SMOKE), 2, problem, "start the tasks with srun, or add --processes 1")
        if name != "SLURM_STEP_NODELIST":
            monkeypatch.setenv(name, "many")
            refused(cli(*SMOKE), 2, f"{name}=many is not a whole number", "--processes 1")

    def test_a_task_beyond_the_step(self):
        with pytest.raises(UsageError, match="SLURM_PROCID=2 is not below SLURM_STEP_NUM_TASKS=2"):
            launch.by_slurm(slurm(2))

    def test_a_task_that_shares_a_node_needs_its_number_there(self):
        env = {**slurm(1), "SLURM_STEP_NUM_NODES": "1"}
        del env["SLURM_LOCALID"]
        with pytest.raises(UsageError, match="SLURM_LOCALID is not set"):
            launch.by_slurm(env)

    @pytest.mark.parametrize(
        ("coordinator", "listens"),
        [
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("localhost:80", "127.0.0.1:80"),
            ("[::1]:80", "[::1]:80"),
            ("192.0.2.250:80", None),  # of no host: an address outside, behind which this one is
            ("node1:80", None),
        ],
    )
    def test_process_0_listens_at_one_address_where_it_can(self, monkeypatch, coordinator, listens):
        options = {}
        monkeypatch.setattr(launch, "_initialise", options.update)
        launch._join(launch.Membership(coordinator, 2, 0))
        assert options["coordinator_bind_address"] == listens

    def test_the_variable_of_jax_says_where_process_0_listens(self, monkeypatch):
        monkeypatch.setenv("JAX_COORDINATOR_BIND_ADDRESS", "0.0.0.0:80")
        assert launch._bind_address("127.0.0.1:80") is None

    def test_tasks_of_a_node_share_its_gpus(self):
        env = {**slurm(1), "SLURM_STEP_NUM_NODES": "1", "SLURM_LOCALID": "1"}
        assert launch.by_slurm(env).device == 1
        assert launch.by_slurm({**env, "CUDA_VISIBLE_DEVICES": "4,5"}).device == 1
        assert launch.by_slurm({**env, "CUDA_VISIBLE_DEVICES": "5"}).device is None
        assert launch.by_slurm(slurm(1)).device is None

    @pytest.mark.parametrize(
        ("env", "several"),
        [
            ({}, False),
            ({"TPU_WORKER_HOSTNAMES": "localhost"}, False),
            ({"TPU_WORKER_HOSTNAMES": "t0,t1"}, True),
            ({"TPU_PROCESS_ADDRESSES": "t0:8476,t1:8476"}, True),
            ({"TPU_WORKER_HOSTNAMES": "t0,t1", "TPU_VISIBLE_CHIPS": "2"}, False),
            ({"TPU_WORKER_HOSTNAMES": "t0", "MEGASCALE_NUM_SLICES": "2"}, True),
        ],
    )
    def test_hosts_of_a_tpu_slice(self, env, several):
        assert launch.on_tpu_slice(env) == several

    def test_a_metadata_server_that_is_not_there(self, monkeypatch):
        """A machine with chips whose hosts nobody tells: alone, at once."""
        monkeypatch.setattr(launch, "_on_tpu_machine", lambda: True)
        assert not launch.on_tpu_slice({"GCE_METADATA_IP": "127.0.0.1:9"})

    @pytest.mark.parametrize(("hosts", "several"), [("a:0:1", False), ("a:0:1,b:1:2", True)])
    def test_the_metadata_server_tells_the_hosts(self, monkeypatch, hosts, several):
        monkeypatch.setattr(launch, "_on_tpu_machine", lambda: True)
        with serving(hosts) as where:
            assert launch.on_tpu_slice({"GCE_METADATA_IP": where}) == several


@contextlib.contextmanager
def serving(text):
    """A metadata server that says this of whatever it is asked."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            assert self.headers["Metadata-Flavor"] == "Google"
            self.send_response(200)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("fault", "has_address", "says"),
    [
        ("[enforce fail at gloo/transport/tcp/device.cc:99]", False, "has no address: add it to"),
        ("[enforce fail at gloo/transport/tcp/device.cc:99]", True, "no device: RuntimeError"),
        ("no GPU", False, "no device: RuntimeError: no GPU"),
    ],
)
def test_why_there_are_no_devices(monkeypatch, fault, has_address, says):
    """Gloo looks up the name of the machine, which containers often cannot."""

    def no_devices():
        raise RuntimeError(fault)

    def look_up(name, port):
        if not has_address:
            raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(jax, "local_devices", no_devices)
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with pytest.raises(UsageError, match=says):
        devices.local_devices()
