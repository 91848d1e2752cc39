"""SkyPilot's command line. It pins libraries of its own, so it is a program and never imported."""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

from atoll.errors import IslandError

_ANSWER_S = 600.0  # to start its server takes it a minute, to take down a node several
_HEADING = re.compile(r"===== std(out|err) =====\s*")  # of what a command on the node wrote
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_ERROR = re.compile(r"^(?:[a-z_]+\.)*[A-Z]\w*(?:Error|Exception): (.+)", re.MULTILINE)
# Below the error stands what each place said, under its name.
_REFUSAL = re.compile(r"^✗ (.+?) — .*\n((?: +\S.*\n?)+)", re.MULTILINE)
_MOST_WORDS = 600  # characters of an error


class Sky:
    """Runs SkyPilot's program, and understands what it prints."""

    def __init__(self, command: str) -> None:
        """Use this program, a path or a name on the path."""
        self._command = command

    def tell(self, *words: str) -> str:
        """What it prints, without colours.

        Args:
            words: arguments.

        Raises:
            IslandError: it fails, with what it says is wrong, or it does not answer.
        """
        code, said, complaint = self._run(words)
        if code:
            raise IslandError(f"sky {words[0]}: {sentence_of(complaint or said)}")
        return said

    def ask(self, *words: str) -> Any:
        """What it answers in JSON. Raises: IslandError, see :meth:`tell`, or that was none."""
        said = self.tell(*words, "--output", "json")
        value = json_in(said)
        if value is None:
            first = said.strip().partition("\n")[0][:_MOST_WORDS]
            raise IslandError(f"sky {words[0]}: its answer is not understood: {first or 'nothing'}")
        return value

    def failure_of(self, request: str) -> str:
        """Why a request failed, in a sentence. Raises: IslandError, it does not answer."""
        _, said, complaint = self._run(("api", "logs", request))
        return sentence_of(complaint or said)

    def last_words(self, cluster: str, job: int, num_lines: int) -> str:
        """The end of what a job wrote, which is printed even where the job failed.

        Raises:
            IslandError: it does not answer.
        """
        words = ("logs", cluster, str(job), "--no-follow", "--tail", str(num_lines))
        return self._run(words)[1]

    def _run(self, words: tuple[str, ...]) -> tuple[int, str, str]:
        try:
            ended = subprocess.run(
                [self._command, *words],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=_ANSWER_S,
            )
        except FileNotFoundError as error:
            raise IslandError(f"there is no program {self._command}") from error
        except (OSError, subprocess.TimeoutExpired) as error:
            raise IslandError(f"sky {words[0]} does not answer: {error}") from error
        return ended.returncode, _plain(ended.stdout), _plain(ended.stderr)


def json_in(text: str) -> Any:
    """The JSON in what was printed, which other lines may stand before; None if there is none."""
    for begin in re.finditer(r"^[\[{]", text, re.MULTILINE):
        try:
            value, _ = json.JSONDecoder().raw_decode(text, begin.start())
        except ValueError:
            continue
        return value
    return None


def sentence_of(text: str) -> str:
    """What went wrong: the error, and what each place said if there was room in none."""
    text = _HEADING.sub("", text)
    errors = (match.group(1) for match in _ERROR.finditer(text))
    told = next(errors, "") or (text.strip().splitlines() or ["it says nothing"])[-1]
    refusals = {f"{place}: {' '.join(why.split())}": None for place, why in _REFUSAL.findall(text)}
    if refusals:
        told = f"{told.partition('. ')[0]}: {'; '.join(refusals)}"
    return told.strip(" .")[:_MOST_WORDS]


def _plain(text: str) -> str:
    return _COLOURS.sub("", text)
