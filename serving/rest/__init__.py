"""The ensemble over HTTP: OpenAI's images endpoint, jobs that can be followed, health, metrics."""
