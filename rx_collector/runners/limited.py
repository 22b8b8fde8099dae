"""Run as a program: takes on limits, a priority and an account, lets go of a signal mask, and becomes another program.

It is run by path with ``python -I -S`` in the short time before a child with such options is what it will be: these
things have to be set between fork and exec, which is no place for Python code in a process with threads. What goes wrong
is written as JSON to a descriptor that is closed when the other program has begun. The settings, which hold the
environment, come by a descriptor, too: arguments can be read by everybody.

    limited.py SETTINGS_DESCRIPTOR TROUBLE_DESCRIPTOR COMMAND…
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import warnings  # noqa: F401 - os.execvpe imports it, when the account may not read our library any more


def main() -> None:
    """Become the program; never returns."""
    descriptor, command = int(sys.argv[2]), sys.argv[3:]
    os.set_inheritable(descriptor, False)
    with open(int(sys.argv[1]), "rb") as file:
        settings = json.load(file)
    for number in (signal.SIGPIPE, signal.SIGXFSZ, *settings["defaults"]):
        signal.signal(number, signal.SIG_DFL)  # Python ignores the first two
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    step = ""
    try:
        step = "set its priority"
        if settings["nice"] is not None:
            os.setpriority(os.PRIO_PROCESS, 0, settings["nice"])
        for number, (name, soft, hard) in settings["limits"].items():
            step = f"limit its {name}"
            resource.setrlimit(int(number), (soft, hard))
        step = ""
        if settings["cwd"] is not None:  # as who we are: the account may not be allowed to look into it
            os.chdir(settings["cwd"])
        step = "change its account"
        if settings["groups"] is not None:
            os.setgroups(settings["groups"])
        if settings["gid"] is not None:
            os.setgid(settings["gid"])
        if settings["uid"] is not None:
            os.setuid(settings["uid"])
        step = ""
        os.execvpe(command[0], command, settings["env"])
    except (OSError, ValueError) as error:
        number = getattr(error, "errno", None) or 0
        os.write(descriptor, json.dumps({"step": step, "errno": number, "text": str(error)}).encode())
    os._exit(127)


if __name__ == "__main__":
    main()
