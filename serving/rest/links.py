"""Addresses at which a job's images are found without a key: whoever knows one may fetch them."""

from __future__ import annotations

import secrets
from contextlib import suppress

from atoll.errors import NotFound
from serving.service.job import Job
from serving.service.service import Service


class Links:
    """Of jobs that are over, for as long as the service keeps these. Not for several threads."""

    def __init__(self, service: Service) -> None:
        """Lead to nothing yet."""
        self._service = service
        self._jobs: dict[str, tuple[str, str]] = {}  # name and owner, the oldest first

    def to(self, job: Job) -> str:
        """A new secret that leads to a job."""
        while self._jobs and self._found(oldest := next(iter(self._jobs))) is None:
            del self._jobs[oldest]
        link = secrets.token_urlsafe(24)
        self._jobs[link] = job.name, job.owner
        return link

    def job(self, link: str) -> Job:
        """Where it leads. Raises: NotFound, nowhere any more."""
        job = self._found(link)
        if job is None:
            raise NotFound("nothing is found at this address, or no more; ask for the image again")
        return job

    def _found(self, link: str) -> Job | None:
        with suppress(NotFound, KeyError):
            return self._service.job(*self._jobs[link])
        return None
