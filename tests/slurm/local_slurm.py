"""A real, throw-away Slurm on this machine: munged, slurmctld and some slurmd as plain processes.

``LocalSlurm.start`` starts this file as a process of its own, which starts the daemons and waits
for its standard input to end. That happens however the test run ends, be it by ``kill -9``, and
the jobs and daemons end with it. Nothing is written outside one temporary folder; needed are the
programs of the packages slurm-wlm and munge, not their services, nor systemd, cgroups or root.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

PROGRAMS = ("munged", "munge", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "squeue")
ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "PREEMPTED", "NODE_FAIL", "OUT_OF_MEMORY")
NODES = ("127.0.0.1", "127.0.0.2")  # names that resolve, as those of a cluster's nodes do
CPUS, GPUS = 8, 2  # of each node, both pretended
GRACE = 30  # seconds between a preemption's signal and the kill
_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
_PATIENCE = 60  # seconds for any stage of the start; about one is needed on a quiet machine

_CONF = """\
ClusterName=local
SlurmctldHost={host}({address})
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
{listen}
GresTypes=gpu
# cred_expire is also how long a requeued job waits before it starts again: by default 120 s
AuthInfo=socket={state}/munge.socket,cred_expire=5
StateSaveLocation={state}/ctld
SlurmctldPidFile={state}/slurmctld.pid
SlurmctldLogFile={state}/log/slurmctld.log
SlurmdSpoolDir={state}/spool.%n
SlurmdPidFile={state}/slurmd.%n.pid
SlurmdLogFile={state}/log/slurmd.%n.log
PlugStackConfig={state}/plugstack.conf
SlurmdParameters=config_overrides
ProctrackType=proctrack/pgid
TaskPlugin=task/none
JobCompType=jobcomp/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
PropagateResourceLimits=NONE
ReturnToService=2
KillWait=2
MinJobAge=86400
# the partition urgent preempts main: SIGTERM, GraceTime, kill, requeue
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=DEFAULT Nodes=ALL State=UP MaxTime=INFINITE DefaultTime=60
PartitionName=main Default=YES PriorityTier=1 GraceTime={grace}
PartitionName=urgent PriorityTier=10 PreemptMode=OFF
"""


def missing_programs() -> list[str]:
    """What must be installed before a cluster can be started."""
    return [name for name in PROGRAMS if shutil.which(name, path=_PATH) is None]


class LocalSlurm:
    """A running cluster of two nodes with 8 processors and 2 GPUs each, all pretended.

    Attributes:
        env: Environment in which the commands of Slurm and of ``ssl-equiv`` reach this cluster.
        state: Folder of the daemons' files and logs.
    """

    def __init__(self, state: Path, supervisor: subprocess.Popen[str]) -> None:
        self.state, self._supervisor = state, supervisor
        self.env = {
            **_outer_environment(),
            "SLURM_CONF": str(state / "slurm.conf"),
            "GLOO_SOCKET_IFNAME": "lo",
            **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"),
        }

    @classmethod
    def start(cls) -> LocalSlurm:
        """Start a cluster and wait until its nodes are idle; RuntimeError tells why it is not."""
        state = Path(tempfile.mkdtemp(prefix="slurm-"))  # short: it holds the name of a socket
        supervisor = subprocess.Popen(
            [sys.executable, __file__, str(state)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C in the terminal is not for it
        )
        assert supervisor.stdout is not None
        answer = supervisor.stdout.readline().strip()
        if answer != "ready":
            supervisor.wait()
            raise RuntimeError(f"no cluster: {answer}")
        return cls(state, supervisor)

    def stop(self) -> None:
        """End the jobs, then the daemons; remove the folder."""
        assert self._supervisor.stdin is not None
        self._supervisor.stdin.close()
        self._supervisor.wait(timeout=3 * _PATIENCE)

    def run(self, *command: str | os.PathLike[str], **options: Any) -> str:
        """Standard output of a command; RuntimeError with what it said if it fails."""
        done = self.call(*command, **options)
        if done.returncode:
            raise RuntimeError(f"{command} exits {done.returncode}: {done.stderr}{done.stdout}")
        return done.stdout.strip()

    def call(
        self,
        *command: str | os.PathLike[str],
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 60,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in this cluster's environment and ``env``."""
        return subprocess.run(
            [str(part) for part in command],
            cwd=cwd,
            env={**self.env, **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def submit(self, *args: str | os.PathLike[str], **options: Any) -> int:
        """``sbatch`` with ``args``; the job's number."""
        return int(self.run("sbatch", "--parsable", *args, **options).split(";")[0])

    def job(self, job: int | str) -> dict[str, str]:
        """What ``scontrol show job`` tells: JobState, Restarts, ExitCode, StdOut, ..."""
        text = self.run("scontrol", "-o", "show", "job", str(job)).splitlines()[0]
        return dict(re.findall(r"(\S+?)=(.*?)(?= [A-Za-z][\w:/]*=|$)", text))

    def status(self, job: int | str) -> str:
        """State of a job, such as RUNNING."""
        return self.job(job)["JobState"]

    def squeue(self) -> dict[str, str]:
        """States of the jobs that wait or run, by number (12, 12_3 for a task of an array)."""
        lines = self.run("squeue", "-h", "-r", "-o", "%i %T").splitlines()
        return dict(line.split(maxsplit=1) for line in lines)

    def wait(self, job: int | str, *states: str, timeout: float = 60) -> str:
        """Wait until the job is in one of ``states`` (by default: has ended); the state.

        RuntimeError with the job's output where it has ended otherwise, or has not got there.
        """
        states = states or ENDED
        end = time.monotonic() + timeout
        while (now := self.status(job)) not in states:
            # a state of the past may still be shown while the job is being requeued
            if time.monotonic() > end or (now in ENDED and now != "PREEMPTED"):
                raise RuntimeError(f"job {job} is {now}, not {states}:\n{self.output(job)}")
            time.sleep(0.2)
        return now

    def wait_for(self, what: str, true: Callable[[], object], timeout: float = 60) -> None:
        """Wait until ``true()``; RuntimeError names ``what`` otherwise."""
        end = time.monotonic() + timeout
        while not true():
            if time.monotonic() > end:
                raise RuntimeError(f"not within {timeout} s: {what}")
            time.sleep(0.1)

    def output(self, job: int | str) -> str:
        """What the job has written so far."""
        path = Path(self.job(job).get("StdOut", "/nonexistent"))
        return path.read_text(errors="replace") if path.is_file() else ""

    def cancel(self, job: int | str, signal_name: str | None = None) -> None:
        """``scancel``, or only send a signal to the job's steps."""
        self.run("scancel", *([f"--signal={signal_name}"] if signal_name else []), str(job))


def _outer_environment() -> dict[str, str]:
    """This process's environment without that of a job it may itself be part of."""
    outer = {k: v for k, v in os.environ.items() if not re.match("SLURM|SBATCH|PMI", k)}
    return {**outer, "PATH": _PATH}


class _Daemons:
    """What the supervising process starts and ends."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.environment = {**_outer_environment(), "SLURM_CONF": str(state / "slurm.conf")}
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start everything; RuntimeError with the end of the logs where a daemon fails."""
        state = self.state
        state.chmod(0o755)
        for name in ("ctld", "log"):
            (state / name).mkdir()
        self._configure()
        self._daemon(
            "munged",
            *("munged", "-F", "-f", f"--key-file={state}/munge.key"),
            *(f"--socket={state}/munge.socket", f"--pid-file={state}/munge.pid"),
            *(f"--log-file={state}/log/munged.log", f"--seed-file={state}/munge.seed"),
        )
        self._until("munged", lambda: self._answers("munge", "-n", "-S", f"{state}/munge.socket"))
        self._daemon("slurmctld", "slurmctld", "-D", "-i", "-f", f"{state}/slurm.conf")
        for node in NODES:
            self._daemon(node, "slurmd", "-D", "-N", node, "-f", f"{state}/slurm.conf")
        self._until("slurmctld", lambda: " UP" in self._answers("scontrol", "ping"))
        idle = ("sinfo", "-h", "-N", "-p", "main", "-t", "idle", "-o", "%N")
        self._until("slurmd", lambda: len(self._answers(*idle).split()) == len(NODES))

    def stop(self) -> None:
        """Let Slurm end what its jobs run, then end the daemons."""
        with contextlib.suppress(RuntimeError):
            if jobs := self._answers("squeue", "-h", "-o", "%A").split():
                self._answers("scancel", *sorted(set(jobs)))
            self._until("squeue", lambda: not self._answers("squeue", "-h", "-o", "%A"))
        for process in reversed(self.running.values()):
            process.terminate()
        end = time.monotonic() + _PATIENCE
        for process in self.running.values():
            try:
                process.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _configure(self) -> None:
        # listen on loopback only, where this host's own name is a loopback address
        try:
            address = socket.gethostbyname(socket.gethostname())
        except OSError:
            address = "127.0.0.1"
        local = address.startswith("127.")
        port = _free_ports(address if local else "127.0.0.1", 1 + len(NODES))
        host = socket.gethostname().split(".")[0]
        nodes = [
            f"NodeName={node} NodeHostname={host} NodeAddr={address if local else '127.0.0.1'} "
            f"Port={port + 1 + i} CPUs={CPUS} RealMemory=1000000 TmpDisk=1000000 Gres=gpu:{GPUS} "
            "State=UNKNOWN\n"
            for i, node in enumerate(NODES)
        ]
        text = _CONF.format(
            host=host,
            address=address if local else "127.0.0.1",
            port=port,
            user=getpass.getuser(),
            listen="CommunicationParameters=NoInAddrAny,NoCtldInAddrAny" if local else "",
            state=self.state,
            grace=GRACE,
        )
        (self.state / "slurm.conf").write_text(text + "".join(nodes))
        (self.state / "plugstack.conf").touch()
        devices = ""
        for i in range(GPUS):  # slurmd wants character devices; only their numbers matter
            (self.state / f"gpu{i}").symlink_to("/dev/null")
            devices += f"Name=gpu File={self.state}/gpu{i}\n"
        (self.state / "gres.conf").write_text(devices)
        key = os.open(self.state / "munge.key", os.O_CREAT | os.O_WRONLY, 0o600)
        with os.fdopen(key, "wb") as file:
            file.write(os.urandom(1024))

    def _daemon(self, name: str, *command: str) -> None:
        with open(self.state / "log" / f"{name}.out", "wb") as log:
            self.running[name] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment,
                start_new_session=True,
            )

    def _answers(self, *command: str) -> str:
        """Standard output, empty if the command fails."""
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                env=self.environment,
                timeout=10,
                text=True,
            )
        except subprocess.TimeoutExpired:
            return ""
        return done.stdout if done.returncode == 0 else ""

    def _until(self, name: str, true: Callable[[], object]) -> None:
        end = time.monotonic() + _PATIENCE
        while not true():
            ended = [n for n, process in self.running.items() if process.poll() is not None]
            if ended or time.monotonic() > end:
                logs = sorted((self.state / "log").iterdir())
                tails = " | ".join(
                    f"{log.name}: {' / '.join(log.read_text(errors='replace').splitlines()[-3:])}"
                    for log in logs
                )
                raise RuntimeError(f"{', '.join(ended) or name} does not answer; {tails}")
            time.sleep(0.1)


def _free_ports(address: str, count: int) -> int:
    """The first of ``count`` adjacent free ports, below those that the system gives away."""
    for base in range(20000 + os.getpid() % 5000, 32000, count):
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for port in range(base, base + count):
                probe = stack.enter_context(socket.socket())
                probe.bind((address, port))
            return base
    raise RuntimeError("no free ports")


def _supervise(state: Path) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))  # so that what was started is ended
    daemons = _Daemons(state)
    try:
        try:
            daemons.start()
        except (RuntimeError, OSError) as error:
            print(" ".join(str(error).split()), flush=True)
            return
        print("ready", flush=True)
        sys.stdin.read()  # ends with the test run
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        daemons.stop()
        shutil.rmtree(state, ignore_errors=True)


if __name__ == "__main__":
    _supervise(Path(sys.argv[1]))
