"""Run Snakemake in copies of a process that has imported it already, because imports take two thirds of a dry run.

Each run has its own process, which ends like a Snakemake that was started in a terminal. Started as a program, this
file reads one run from each line of standard input, and prints its exit code.
"""

import atexit
import functools
import json
import os
import subprocess
import sys
import threading


def run(arguments, folder, environment, output):
    """Run Snakemake in `folder` and write what it prints to the file `output`. Return its exit code."""
    program = _program()
    program.stdin.write(json.dumps([list(map(str, arguments)), str(folder), environment, str(output)]) + "\n")
    program.stdin.flush()
    return int(program.stdout.readline())


@functools.cache
def _program():
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    program = subprocess.Popen(
        [sys.executable, __file__], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    atexit.register(program.communicate)
    return program


def _serve():
    import smart_open  # noqa: F401
    from snakemake.cli import get_argument_parser, main

    # Snakemake's timers run every second. As daemons, they do not delay the end of the process by up to a second.
    threading.Timer.daemon = True

    # This imports the plugins.
    get_argument_parser()
    for line in sys.stdin:
        process = os.fork()
        if process == 0:
            _become(*json.loads(line))
            main()
            return
        print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)


def _become(arguments, folder, environment, output):
    """Make this process as if `python -m snakemake` had been started in `folder`."""
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[1:] = arguments
    sys.path[0] = folder
    for file, descriptors in ((os.devnull, [0]), (output, [1, 2])):
        opened = os.open(file, os.O_RDWR | os.O_CREAT)
        for descriptor in descriptors:
            os.dup2(opened, descriptor)


if __name__ == "__main__":
    _serve()
