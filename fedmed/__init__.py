"""fedmed: medical-imaging federations by signed files. The rooms are described in `docs/ARCHITECTURE.md`."""

__version__ = "0.2.0"
