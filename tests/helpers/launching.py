"""What several processes of one run are started with."""

import socket
import time


def address():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def slurm(index):
    return {
        "SLURM_JOB_ID": str(time.monotonic_ns() % 4096),
        "SLURM_STEP_ID": "0",
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_STEP_NUM_NODES": "2",
        "SLURM_STEP_NODELIST": "127.0.0.1,node2",
        "SLURM_PROCID": str(index),
        "SLURM_LOCALID": "0",
    }
