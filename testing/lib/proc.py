# SPDX-License-Identifier: Apache-2.0
"""Running programs, and ending the ones that were started, by their pid and never by name."""
import os
import signal
import subprocess
import time

#: all timeouts are multiplied by it: what takes a second on a machine takes many in a guest that is emulated
SLOW = float(os.environ.get("CYGNET_SLOW", "1"))
#: "address" or "thread" when the programs under test have a sanitizer (testing/lib/sanitized), otherwise empty
SANITIZER = os.environ.get("CYGNET_SANITIZER", "")


class Failure(Exception):
    """A test failed; the text is the plain reason."""


def require(condition, reason):
    if not condition:
        raise Failure(reason)


def wait_for(condition, what, timeout=30, interval=0.1):
    """Polls condition() until it is true and returns its value. Failing says what was waited for."""
    end = time.monotonic() + timeout * SLOW
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failure(f"{what}: not within {timeout} s")
        time.sleep(interval)


def run(argv, check=True, timeout=60, stdin="", env=None):
    """Runs a program to its end and returns its output (both streams). With check, a bad exit status is a Failure."""
    status, out = run_status(argv, timeout=timeout, stdin=stdin, env=env)
    if check and status != 0:
        raise Failure(f"{' '.join(argv)}: exit status {status}: {out.strip()[-600:]}")
    return out


def run_status(argv, timeout=60, stdin="", env=None):
    """As run(), but returns (exit status, output) whatever the status is."""
    full = {**os.environ, **env} if env else None
    try:
        done = subprocess.run(argv, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout * SLOW,
                              text=True, errors="replace", env=full, check=False)
    except subprocess.TimeoutExpired as late:
        seen = (late.output or b"").decode(errors="replace") if isinstance(late.output, bytes) else late.output or ""
        raise Failure(f"{' '.join(argv)}: still running after {timeout} s: {seen.strip()[-600:]}") from None
    except OSError as err:
        raise Failure(f"cannot run {argv[0]}: {err.strerror}") from None
    return done.returncode, done.stdout


class Background:
    """A program running in the background with its output in a file. It dies with the test that started it."""

    def __init__(self, argv, log, env=None):
        self.name = os.path.basename(argv[0])
        self.log = log
        full = {**os.environ, **env} if env else None
        with open(log, "ab") as out:
            self.process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *argv], stdin=subprocess.DEVNULL,
                                            stdout=out, stderr=out, env=full, start_new_session=True)

    @property
    def pid(self):
        return self.process.pid

    def alive(self):
        return self.process.poll() is None

    def output(self):
        with open(self.log, errors="replace") as log:
            return log.read()

    def kill(self):
        """As a crash or a power cut would: no chance to say goodbye."""
        if self.alive():
            self.process.kill()
            self.process.wait(10)

    def stop(self, timeout=20):
        """Asks it to end and returns its exit status; one that does not end in time is killed, and that is a Failure."""
        if self.alive():
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout * SLOW)
            except subprocess.TimeoutExpired:
                self.kill()
                raise Failure(f"{self.name} (pid {self.pid}) did not end within {timeout} s of SIGTERM") from None
        return self.process.returncode
