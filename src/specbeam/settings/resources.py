"""Settings of what jobs ask of a machine, or of a cluster. No stage reads them: a change runs nothing again."""

from specbeam.settings.base import Count, Section


class ThreadSettings(Section):
    """CPU threads (and Snakemake's cores) a job takes."""

    target: Count = 2
    """Training of the target, its lists, and the baselines."""
    embedding: Count = 2
    """Embedding of own items from their texts."""
    trajectories: Count = 1
    """Each recording of trajectories."""
    draft: Count = 1
    """Each training and alignment of a draft."""
    evaluation: Count = 1
    """Each evaluation of a draft."""
    timing: Count = 2
    """Each timing; no more than the cores that a job may use."""


class Need(Section):
    """What jobs of one rule ask for at the first attempt; the second asks for twice that, and so on."""

    memory_mb: Count | None = None
    """Megabytes of main memory; null: as `resources.memory_mb`."""
    runtime_minutes: Count | None = None
    """Time limit on a cluster; null: as `resources.runtime_minutes`."""


class SmallNeed(Need):
    """What rules that load no model ask for."""

    memory_mb: Count = 2000
    """Megabytes of main memory."""
    runtime_minutes: Count = 15
    """Time limit on a cluster."""


class PreparationNeed(SmallNeed):
    """What reading and preparing a data set ask for."""

    memory_mb: Count = 4000
    """Megabytes of main memory."""
    runtime_minutes: Count = 60
    """Time limit on a cluster."""


class RuleNeeds(Section):
    """What the jobs of a rule ask for, where it is not what all jobs that load models ask for."""

    generate_synthetic: SmallNeed = SmallNeed()
    read_interactions: PreparationNeed = PreparationNeed()
    embed_items: Need = Need()
    identify_items: Need = Need()
    prepare_dataset: PreparationNeed = PreparationNeed()
    train_target: Need = Need()
    recommend_items: Need = Need()
    rate_baselines: Need = Need()
    record_trajectories: Need = Need()
    record_validation: Need = Need()
    train_draft: Need = Need()
    align_draft: Need = Need()
    evaluate_draft: Need = Need()
    time_methods: Need = Need()
    record_search: Need = Need()
    plot_figure: SmallNeed = SmallNeed()
    plot_ablations: SmallNeed = SmallNeed()
    plot_coding: SmallNeed = SmallNeed()
    summarise_run: SmallNeed = SmallNeed()
    write_page: SmallNeed = SmallNeed()


class SlurmSettings(Section):
    """What is asked of Slurm besides; null: nothing, so that the cluster's own default holds."""

    partition: str | None = None
    """Of all jobs, or of those without a GPU if `gpu_partition` is set."""
    gpu_partition: str | None = None
    """Of jobs with a GPU; null: `partition`."""
    account: str | None = None
    """Whom jobs are counted to."""
    qos: str | None = None
    """Quality of service."""
    gpu_qos: str | None = None
    """Of jobs with a GPU; null: `qos`."""
    constraint: str | None = None
    """Features that nodes must have."""
    gpu_constraint: str | None = None
    """Of jobs with a GPU; null: `constraint`."""
    extra: str | None = None
    """More options of sbatch."""
    exclusive_timing: bool = True
    """Whether a timing job has its node for itself: a neighbour would slow some methods more than others."""


class ResourceSettings(Section):
    """What jobs ask Snakemake's scheduler, or a cluster's, for, besides threads."""

    memory_mb: Count = 8000
    """Megabytes of main memory of a job that loads models."""
    runtime_minutes: Count = 240
    """Time limit of such a job on a cluster; a training goes on where the limit stopped it."""
    rules: RuleNeeds = RuleNeeds()
    slurm: SlurmSettings = SlurmSettings()
