"""Islands as nodes of clouds, by the command line of SkyPilot."""
