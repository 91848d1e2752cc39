"""What all tests share."""

from hypothesis import settings

# A property holds or not; how long a busy machine takes over an example says nothing of it.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
