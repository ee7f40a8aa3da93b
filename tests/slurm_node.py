"""A Slurm cluster of one node on the loopback address. `why_not` names the Debian packages that it needs.

To try the workflow on Slurm without a cluster, run ``python tests/slurm_node.py`` as root; Ctrl-C stops it.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")
# srun in a job reads the settings only from this file.
CONF = Path("/etc/slurm/slurm.conf")
SETTINGS = """\
# Written by tests/slurm_node.py; removed at its end.
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
StateSaveLocation={folder}/slurmctld
SlurmdSpoolDir={folder}/slurmd
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
KillWait=2
MinJobAge=3600
ReturnToService=2
PropagateResourceLimits=NONE
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
EnforcePartLimits=ALL
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory={memory_mb} State=UNKNOWN
PartitionName=short Nodes={host} Default=YES MaxTime=600
PartitionName=long Nodes={host}
"""


def why_not():
    """Return the reason why Slurm cannot be started here, or None."""
    missing = [program for program in PROGRAMS if not shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin")]
    if missing:
        return f"needs {', '.join(missing)} (Debian: apt-get install munge slurmctld slurmd slurm-client)"
    if os.geteuid() != 0:
        return "needs root to start a Slurm"
    if CONF.exists() and not CONF.read_text().startswith(SETTINGS.splitlines()[0]):
        return f"{CONF} exists, so this machine has its own Slurm"
    return None


@contextmanager
def running_slurm():
    """Start the daemons, wait until a test job has run, yield the folder of the logs, and stop the daemons."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="slurm-")))
        write_settings(folder)
        stack.callback(CONF.unlink)
        munge = folder / "munge"
        stack.enter_context(
            daemon(
                "munged", "--foreground", "--force", f"--key-file={munge}/key", f"--socket={munge}/socket",
                f"--pid-file={munge}/pid", f"--seed-file={munge}/seed", log=folder / "munged.log",
            )
        )  # fmt: skip
        wait_for("munge", "--no-input", f"--socket={munge}/socket", folder=folder)
        stack.enter_context(daemon("slurmctld", "-D", log=folder / "slurmctld.log"))
        wait_for("scontrol", "ping", folder=folder)
        stack.enter_context(daemon("slurmd", "-D", log=folder / "slurmd.log"))
        wait_for("srun", "--immediate=1", "--mem=10", "true", folder=folder)
        try:
            yield folder
        finally:
            subprocess.run(["scancel", "--user=root"], check=False)
            wait_for("sh", "-c", '[ -z "$(squeue --noheader)" ]', folder=folder)


def write_settings(folder):
    host = socket.gethostname().partition(".")[0]
    folder.chmod(0o755)
    for name in ("munge", "slurmctld", "slurmd"):
        (folder / name).mkdir(mode=0o755)
    (folder / "munge/key").write_bytes(os.urandom(128))
    (folder / "munge/key").chmod(0o400)
    memory_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20 - 512
    CONF.parent.mkdir(parents=True, exist_ok=True)
    CONF.write_text(SETTINGS.format(host=host, folder=folder, memory_mb=memory_mb))


@contextmanager
def daemon(program, *arguments, log):
    """Run a program until the block ends or this process is killed."""
    path = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin")
    command = ["setpriv", "--pdeathsig", "TERM", path, *arguments]
    with log.open("w") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream, start_new_session=True)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for(*command, folder, seconds=60):
    """Repeat a command until it succeeds."""
    end = time.monotonic() + seconds
    while subprocess.run(command, capture_output=True, check=False).returncode != 0:
        if time.monotonic() > end:
            logs = "\n".join(f"== {log.name}\n{log.read_text()[-2000:]}" for log in sorted(folder.glob("*.log")))
            raise RuntimeError(f"{' '.join(command)} failed for {seconds} s\n{logs}")
        time.sleep(0.2)


if __name__ == "__main__":
    reason = why_not()
    if reason:
        raise SystemExit(f"no Slurm: {reason}")
    with running_slurm() as logs:
        print(f"Slurm is running, with logs in {logs}; Ctrl-C stops it")
        try:
            signal.pause()
        except KeyboardInterrupt:
            print("Slurm stops")
