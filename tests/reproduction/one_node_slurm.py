"""A SLURM of one node for a test: in a folder of its own, on free ports, as root."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol")
_PATIENCE = 120.0
_CONF = """\
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
AuthType=auth/munge
# A job that is put back waits as long as its credential lives.
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,bf_interval=2,sched_interval=2
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def path():
    """The search path with the folder of daemons, which not everyone's has."""
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"


def why_not():
    """Why a SLURM cannot be started here; empty if it can."""
    lacking = [name for name in PROGRAMS if not shutil.which(name, path=path())]
    if lacking:
        return f"SLURM is not installed: no {', '.join(lacking)}"
    return "" if os.geteuid() == 0 else "to start a SLURM of one's own needs root"


@contextlib.contextmanager
def running(folder):
    """Starts it, and stops it with all that it runs.

    Yields:
        The environment variables with which its commands are found.
    """
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o600)
    conf = folder / "slurm.conf"
    host = socket.gethostname()
    conf.write_text(_CONF.format(host=host, ports=_free_ports(2), folder=folder))
    found = {"PATH": path(), "SLURM_CONF": str(conf)}
    munge = {"socket": "socket", "pid-file": "pid", "seed-file": "seed"}
    munged = ["munged", "--foreground", "--force", f"--key-file={key}"]
    munged += [f"--{flag}={folder}/munge.{name}" for flag, name in munge.items()]
    daemons = []
    try:
        for command in (munged, ["slurmctld", "-D", "-c"], ["slurmd", "-D", "-c"]):
            log = (folder / f"{command[0]}.log").open("w")
            daemons.append(
                subprocess.Popen(
                    command, env=os.environ | found, stdout=log, stderr=log
                )
            )
            log.close()
            if command is munged:
                _wait(lambda: (folder / "munge.socket").exists(), folder)
        _wait(
            lambda: _says(found, "sinfo", "--noheader", "--format=%T") == "idle", folder
        )
        yield found
    finally:
        _says(found, "scancel", f"--user={os.getuid()}")
        with contextlib.suppress(AssertionError):  # a job's own processes end it
            _wait(lambda: not _says(found, "squeue", "--noheader"), folder)
        for daemon in reversed(daemons):
            daemon.terminate()
        for daemon in reversed(daemons):
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        for pid in _of(conf):
            os.kill(pid, signal.SIGKILL)


def _of(conf):
    """What still runs of this SLURM, by the variable that all of it has."""
    mark = f"SLURM_CONF={conf}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if mark in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return found


def _says(found, *command):
    done = subprocess.run(
        command, env=os.environ | found, capture_output=True, text=True
    )
    return done.stdout.strip()


def _wait(is_so, folder):
    deadline = time.monotonic() + _PATIENCE
    while not is_so():
        if time.monotonic() > deadline:
            logs = [path.read_text()[-2000:] for path in folder.glob("*.log")]
            raise AssertionError("SLURM did not start:\n" + "\n".join(logs))
        time.sleep(0.2)


def _free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
