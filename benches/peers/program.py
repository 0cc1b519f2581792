"""A program that speaks lines of JSON: started, asked, ended."""

import json
import queue
import subprocess
import tempfile
import threading


class Failed(Exception):
    """A program that did not do what it was asked for."""


class Program:
    """A process; `ask` sends it a line and waits for the answer."""

    def __init__(self, name, command):
        self.name = name
        self.errors = tempfile.TemporaryFile("w+")
        pipe = subprocess.PIPE
        try:
            self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=self.errors, text=True)
        except OSError as error:
            raise Failed(f"it does not start: {error.strerror}") from None
        self.lines = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        for line in self.process.stdout:
            # Libraries write to the terminal too.
            if line.startswith('{"'):
                self.lines.put(json.loads(line))
        self.lines.put(None)

    def ask(self, timeout=60, **request):
        """The answer to a request, or Failed."""
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            answer = self.lines.get(timeout=timeout)
        except BrokenPipeError:
            answer = None
        except queue.Empty:
            raise Failed(f"no answer within {timeout} s") from None
        if answer is None:
            raise Failed(f"it ended: {self.last_words()}")
        if "error" in answer:
            raise Failed(answer["error"].split("\n")[0])
        return next(iter(answer.values()))

    def last_words(self):
        """Where a panic says what it is, or the last line of the errors."""
        self.errors.seek(0)
        lines = [line.strip() for line in self.errors if line.strip()]
        after_panic = [lines[i + 1] for i, line in enumerate(lines[:-1]) if "panicked at" in line]
        return (after_panic or lines[-1:] or ["without a word"])[0]

    def end(self):
        """Ends the process, and waits for that."""
        self.process.kill()
        self.process.wait()
        self.errors.close()
