"""Settings of what jobs ask of a machine."""

from specbeam.settings.base import Count, Section


class ThreadSettings(Section):
    """CPU threads (and Snakemake's cores) a job takes."""

    target: Count = 2
    trajectories: Count = 1
    draft: Count = 1
    evaluation: Count = 1
    timing: Count = 2


class ResourceSettings(Section):
    """What a job that loads models asks Snakemake's scheduler for, besides threads."""

    memory_mb: Count = 8000
    """Megabytes of main memory."""
