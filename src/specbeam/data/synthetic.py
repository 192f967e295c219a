"""A small data set to run the whole chain on without a download: a catalogue, and users who buy from it.

How it is made, so that there is something to learn at every level of an identifier:

- Items form GROUPS (those that share the first two identifier tokens), groups form latent CLUSTERS. A group has a
  FACET, its second token, which means the same in every cluster. Sizes follow the real data: about 1.7 children below
  the second token and 1.08 below the third, and a few items collide.
- From a group a user goes on to a few fixed successors: to the same facet shift, in the same or in a linked cluster.
  The shifts and links are shared by all groups, so that a small model can learn them from few examples.
- With probability `persistence` the next item comes from a successor of the last item's group; otherwise from the
  user's own clusters (three at most), by popularity. Nobody takes an item twice.
- Users come and go over time, and one global split in time (8:1:1) makes train, valid and test, as in the real data.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from specbeam.catalogue import Catalogue
from specbeam.data import IDENTIFIERS, SPLITS, Split, time_split
from specbeam.data.sequences import write_raw
from specbeam.errors import SpecbeamError
from specbeam.settings import SyntheticSettings

log = logging.getLogger(__name__)

ITEMS_A_GROUP = 1.84  # Beauty: 12,035 items below 6,539 prefixes of length 2
ITEMS_A_THIRD_TOKEN = 1.08  # Beauty: mean children of a prefix of length 3
COLLIDING = 0.002  # share of items with another item's identifier; Beauty 0.1 %, Games 0.25 %
VOCABULARY = 256  # codewords a position in the real data
MISPLACED = 0.03  # share of groups under another cluster's first token: quantisation is not perfect
SUCCESSORS = np.array([0.55, 0.3, 0.15])  # how likely each of a group's successors follows
WINDOW = 3  # successor: the most popular of so many groups nearest to the shifted facet
SHORTEST = 3  # interactions of a user, at least
SHARES = (0.8, 0.1, 0.1)  # of train, valid and test
ATTEMPTS = 10  # draws an interaction, on average, until a user who finds nothing new stops


@dataclass(frozen=True)
class World:
    """The latent truth behind the data: what an ideal recommender would know."""

    group: np.ndarray
    """int [items]: an item's group."""
    popularity: np.ndarray
    """float [items]: weight of an item among its group's and its cluster's items."""
    cluster: np.ndarray
    """int [groups]."""
    facet: np.ndarray
    """int [groups]: unique within a cluster."""
    successors: np.ndarray
    """int [groups, 3]: the groups that follow, with the probabilities SUCCESSORS."""


def generate(*, settings: SyntheticSettings, seed: int, destination: Path) -> None:
    """Write a data set in the authors' raw formats (specbeam.data.sequences, identifiers.json) to `destination`.

    The same settings and seed give the same bytes. `settings.users` are simulated; those with fewer than two
    interactions before the split are dropped, as in Beauty, and the rest are numbered anew.
    Raises SpecbeamError if the settings leave no room for the clusters, or nobody in a split.
    """
    generator = np.random.default_rng(seed)
    world = build_world(settings, generator=generator)
    identifiers = name_items(world, generator=generator)
    interactions = simulate_users(world, settings, generator=generator)
    splits = split_by_time(interactions)
    for split in SPLITS:
        if not any(splits[split]):
            raise SpecbeamError(
                f"synthetic.users: expected enough users for interactions in every split, {settings.users} give none "
                f"in {split}; set it higher"
            )
    destination = Path(destination)
    Catalogue.of(dict(enumerate(identifiers))).save(destination / IDENTIFIERS)
    write_raw(destination, splits)
    log.info("generated %d items and %d users in %s", settings.items, len(splits["train"]), destination)


def build_world(settings: SyntheticSettings, *, generator: np.random.Generator) -> World:
    """Draw groups, clusters, popularity and successors."""
    items, clusters = settings.items, settings.clusters
    groups = round(items / ITEMS_A_GROUP)
    if clusters * 4 > items:
        raise SpecbeamError(f"synthetic.clusters: expected at most items / 4 = {items // 4}, got {clusters}")
    cluster = _uneven(groups, clusters, generator=generator)
    facets = max(VOCABULARY // 2, int(np.bincount(cluster).max()))
    facet = np.empty(groups, dtype=np.int64)
    for c in range(clusters):
        members = np.flatnonzero(cluster == c)
        facet[members] = generator.choice(facets, size=len(members), replace=False)
    # Which items are alike must not show in their numbers, hence the permutation.
    group = generator.permutation(_uneven(items, groups, generator=generator))
    popularity = np.empty(items)
    for c in range(clusters):
        members = generator.permutation(np.flatnonzero(cluster[group] == c))
        popularity[members] = np.arange(1, len(members) + 1) ** -settings.popularity_exponent
    successors = _successors(cluster, facet, np.bincount(group, popularity, groups), facets, generator=generator)
    return World(group=group, popularity=popularity, cluster=cluster, facet=facet, successors=successors)


def name_items(world: World, *, generator: np.random.Generator) -> list[tuple[str, str, str, str]]:
    """Draw the items' identifiers: cluster, facet, and two tokens that tell the items of a group apart."""
    clusters = int(world.cluster.max()) + 1
    vocabulary = max(VOCABULARY, int(world.facet.max()) + 1, int(np.bincount(world.group).max()))
    first = generator.choice(max(VOCABULARY, clusters), size=clusters, replace=False)
    second = generator.permutation(vocabulary)
    first_of_group = first[world.cluster]
    misplaced = generator.random(len(first_of_group)) < MISPLACED
    first_of_group[misplaced] = generator.choice(first, size=misplaced.sum())
    items, groups = len(world.group), len(world.cluster)
    sharing = (items - items / ITEMS_A_THIRD_TOKEN) / (items - groups)
    names: list[tuple[str, str, str, str]] = [("", "", "", "")] * items
    for members in _members(world.group, groups):
        thirds = list(generator.permutation(vocabulary)[: len(members)])
        fourths = generator.permutation(vocabulary)[: len(members)]
        for n, item in enumerate(members):
            if n and generator.random() < sharing:
                thirds[n] = thirds[generator.integers(n)]
            g = world.group[item]
            names[item] = (
                f"<a_{first_of_group[g]}>",
                f"<b_{second[world.facet[g]]}>",
                f"<c_{thirds[n]}>",
                f"<d_{fourths[n]}>",
            )
    _collide(names, world, generator=generator)
    return names


def simulate_users(
    world: World, settings: SyntheticSettings, *, generator: np.random.Generator
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Draw every user's items (int, distinct) and their times (float, ascending)."""
    clusters = int(world.cluster.max()) + 1
    in_group = _Sampler(world.group, world.popularity, groups=len(world.cluster), generator=generator)
    in_cluster = _Sampler(world.cluster[world.group], world.popularity, groups=clusters, generator=generator)
    cumulative = np.cumsum(SUCCESSORS)
    users = []
    for _ in range(settings.users):
        length = SHORTEST - 1 + int(generator.geometric(1 / (settings.mean_length - SHORTEST + 1)))
        liked = generator.choice(clusters, size=generator.integers(2, 4))
        taken: dict[int, None] = {}  # a set that keeps the order
        last = -1
        for _ in range(ATTEMPTS * length):
            if taken and generator.random() < settings.persistence:
                step = min(np.searchsorted(cumulative, generator.random()), len(SUCCESSORS) - 1)
                item = in_group.draw(world.successors[world.group[last], step])
            else:
                item = in_cluster.draw(liked[generator.integers(len(liked))])
            if item not in taken:
                taken[item] = None
                last = item
            if len(taken) == length:
                break
        arrival, departure = np.sort(generator.random(2))
        times = np.sort(generator.uniform(arrival, departure, size=len(taken)))
        users.append((np.fromiter(taken, dtype=np.int64), times))
    return users


def split_by_time(interactions: list[tuple[np.ndarray, np.ndarray]]) -> dict[Split, list[list[int]]]:
    """Split all users at the 80th and 90th percentile of all times; a time equal to a percentile counts as after it.

    Returns, for each split, every kept user's items in time order; users with fewer than two training items are
    dropped.
    """
    borders = time_split.borders(np.concatenate([times for _, times in interactions]), SHARES)
    splits: dict[Split, list[list[int]]] = {split: [] for split in SPLITS}
    for items, times in interactions:
        order = np.argsort(times, kind="stable")
        part = time_split.parts(times[order], borders)
        parts = [items[order][part == n].tolist() for n in range(len(SPLITS))]
        if len(parts[0]) >= 2:
            for split, own in zip(SPLITS, parts, strict=True):
                splits[split].append(own)
    return splits


class _Sampler:
    """Draws an item of a given group by popularity."""

    def __init__(
        self, group: np.ndarray, popularity: np.ndarray, *, groups: int, generator: np.random.Generator
    ) -> None:
        self._members = _members(group, groups)
        self._cumulative = [np.cumsum(popularity[members]) for members in self._members]
        self._generator = generator

    def draw(self, group: int) -> int:
        cumulative = self._cumulative[group]
        place = np.searchsorted(cumulative, self._generator.random() * cumulative[-1], side="right")
        return int(self._members[group][min(place, len(cumulative) - 1)])


def _uneven(count: int, parts: int, *, generator: np.random.Generator) -> np.ndarray:
    """Assign `count` things to `parts` parts of uneven size, none empty: int [count], sorted."""
    weights = generator.gamma(2.0, size=parts)
    rest = generator.choice(parts, size=count - parts, p=weights / weights.sum())
    return np.sort(np.concatenate([np.arange(parts), rest]))


def _members(group: np.ndarray, groups: int) -> list[np.ndarray]:
    order = np.argsort(group, kind="stable")
    return np.split(order, np.cumsum(np.bincount(group, minlength=groups))[:-1])


def _successors(
    cluster: np.ndarray, facet: np.ndarray, weight: np.ndarray, facets: int, *, generator: np.random.Generator
) -> np.ndarray:
    """int [groups, 3]: the likeliest two stay in the cluster, the third moves to the cluster's linked one.

    Each is the most popular of the WINDOW groups nearest to the shifted facet (on a ring), never the group itself:
    popular groups are reached from several others, so that popularity stays skewed.
    """
    clusters = int(cluster.max()) + 1
    members = _members(cluster, clusters)
    linked = generator.permutation(clusters)
    shifts = generator.choice(np.arange(1, facets), size=len(SUCCESSORS), replace=False)
    result = np.empty((len(cluster), len(SUCCESSORS)), dtype=np.int64)
    for group in range(len(cluster)):
        for n, shift in enumerate(shifts):
            home = cluster[group] if n < len(SUCCESSORS) - 1 else linked[cluster[group]]
            others = members[home][members[home] != group]
            others = others if len(others) else np.array([(group + 1) % len(cluster)])
            distance = np.abs(facet[others] - (facet[group] + shift) % facets)
            nearest = others[np.argsort(np.minimum(distance, facets - distance), kind="stable")[:WINDOW]]
            result[group, n] = nearest[np.argmax(weight[nearest])]
    return result


def _collide(names: list[tuple[str, str, str, str]], world: World, *, generator: np.random.Generator) -> None:
    """Give a few items the identifier of another item of their group, in place."""
    crowded = [members for members in _members(world.group, len(world.cluster)) if len(members) > 1]
    pairs = min(len(crowded), max(1, round(COLLIDING * len(names))))
    for n in generator.choice(len(crowded), size=pairs, replace=False):
        kept, renamed = crowded[n][:2]
        names[renamed] = names[kept]
