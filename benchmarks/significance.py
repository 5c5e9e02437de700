"""Measure by simulation how often the signs of a table of accuracies are wrong.

    python benchmarks/significance.py [TABLES]

Draws TABLES tables (default: 4,000) of seven mechanisms, `identity` among them, on five tasks, for
numbers of seeds, spreads over seeds and sizes of the test set. Prints Markdown: how often equal
mechanisms get a sign, what share of true differences is found, and how often a 95 % interval holds
the true difference. Takes about two minutes of one core.

The answers to the examples of one test set are correlated: hard examples are hard for every
mechanism, which cancels in differences, and some are hard for one mechanism only. Two mechanisms
that are equally good disagree on about a third of the examples. An accuracy is a mean over
thousands of answers, so it is drawn as a sum of normal numbers: for the mechanism's own hard
examples, for the seed, and for the rest. The last line of the output compares that with single
answers, drawn and tested as those of records are.
"""

import itertools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.special import ndtr

from lra_bench.leaderboard import holm
from lra_bench.leaderboard.behrens_fisher import p_value
from lra_bench.leaderboard.significance import LEVEL, paired

MECHANISMS, TASKS = 7, 5
SEEDS, SPREADS, SIZES, LEADS = (2, 3, 5, 10), (0.0, 0.5, 1.0, 2.0), (2_000, 10_000), (1, 2, 5)
# Of one answer of a mechanism: the variance by examples that only it finds hard, and the rest.
# They are those of answers Phi(x) to examples of difficulty x ~ N(0, 1) + N(0, 0.5^2).
OF_EXAMPLES, OF_REST = 0.0204, 0.1563
Drawn = Float[np.ndarray, "tables tasks mechanisms seeds"]


@dataclass(frozen=True)
class Case:
    """The setting in which tables are drawn.

    Attributes:
        seeds: of each mechanism.
        spread: standard deviation over seeds of a mechanism's accuracy, in points.
        size: number of examples of a test set.
    """

    seeds: int
    spread: float
    size: int

    def draw(self, tables: int, rng: np.random.Generator) -> Drawn:
        """Return accuracies of mechanisms that are equally good, less the true one, in [-1, 1]."""
        shape = (tables, TASKS, MECHANISMS, 1)
        own = rng.normal(0, np.sqrt(OF_EXAMPLES / self.size), shape)
        by_seed = np.hypot(self.spread / 100, np.sqrt(OF_REST / self.size))
        return own + rng.normal(0, by_seed, (*shape[:-1], self.seeds))

    def p(self, gaps: Float[np.ndarray, "*s seeds"], tasks: int = 1) -> Float[np.ndarray, "*s"]:
        """Return the p-values of differences by seed, averaged over so many tasks.

        They are 1 for differences below 1.5 standard errors, whose p-values are far above 5 %.
        """
        mean, of_seeds = gaps.mean(axis=-1), gaps.var(axis=-1, ddof=1) / self.seeds
        of_examples = 2 * OF_EXAMPLES / self.size / tasks
        large = np.abs(mean) > 1.5 * np.sqrt(of_seeds + of_examples)
        p = np.ones(mean.shape)
        p[large] = p_value(mean[large], of_seeds[large], self.seeds - 1, of_examples)
        return p


def ranked(drawn: Drawn) -> Drawn:
    """Return the mechanisms of each task, the best first."""
    order = np.argsort(-drawn.mean(axis=-1), axis=-1)
    return np.take_along_axis(drawn, order[..., None], axis=-2)


def leads(case: Case, drawn: Drawn) -> Float[np.ndarray, "tables tasks"]:
    """Return the largest p-value of the first mechanism against the others."""
    return case.p(drawn[..., :1, :] - drawn[..., 1:, :]).max(axis=-1)


def marked(best: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return how many of best and second are marked, for each table and task."""
    pairs = np.stack([best, second], axis=-1)
    return np.array([holm.rejected(table.tolist(), LEVEL) for table in pairs])


def declared(p: Float[np.ndarray, "tables n"]) -> np.ndarray:
    """Return which p-values of each table are below the level after Holm's correction."""
    return np.array([holm.adjusted(table) for table in p.tolist()]) < LEVEL


def over_identity(case: Case, drawn: Drawn) -> Float[np.ndarray, "tables n"]:
    """Return one-sided p-values of the first six mechanisms against the last."""
    gaps = drawn[..., :-1, :] - drawn[..., -1:, :]
    p = case.p(gaps)
    return np.where(gaps.mean(axis=-1) > 0, p / 2, 1 - p / 2).reshape(len(drawn), -1)


def compared(case: Case, drawn: Drawn) -> Float[np.ndarray, "tables n"]:
    """Return p-values of the first mechanism against the second, by task and of the average."""
    gaps = drawn[:, :, 0] - drawn[:, :, 1]
    average = case.p(gaps.mean(axis=1), TASKS)[:, None]
    return np.hstack([case.p(gaps), average])


def wrong(case: Case, tables: int, rng: np.random.Generator) -> dict[str, float]:
    """Return in percent how often mechanisms that are equally good get each sign, by table.

    In the worst case for the best, two mechanisms lead all others and are equal; for the second,
    two are equal below a clear best. "One pair" is by comparison, and without correction.
    """
    drawn = case.draw(tables, rng)
    all_equal, pair = ranked(drawn), ranked(drawn[:, :, :2])
    none, clear = np.ones((tables, TASKS)), np.zeros((tables, TASKS))
    best, tied = leads(case, all_equal), leads(case, pair)
    beats = over_identity(case, drawn)
    pairs = compared(case, drawn)
    shares = {
        "one pair": pairs[:, :TASKS] < LEVEL,
        "best": (marked(best, none) > 0).any(axis=1),
        "best, two lead, uncorrected": (tied < LEVEL).any(axis=1),
        "best, two lead": (marked(tied, none) > 0).any(axis=1),
        "second, two equal": (marked(clear, tied) > 1).any(axis=1),
        "better than identity": declared(beats).any(axis=1),
        "--compare": declared(pairs).any(axis=1),
    }
    return {name: 100 * float(share.mean()) for name, share in shares.items()}


def found(case: Case, tables: int, rng: np.random.Generator) -> dict[str, float]:
    """Return in percent how often a lead of some points is found, in each column of a table.

    All other differences of the table are zero. The lead of one mechanism over all others is on one
    task; so is that over `identity`.
    """
    drawn = case.draw(tables, rng)
    shares: dict[str, float] = {}
    for lead in LEADS:
        ahead = drawn.copy()
        ahead[:, 0, 0] += lead / 100
        first = ranked(ahead)
        is_first = ahead[:, 0].mean(axis=-1).argmax(axis=-1) == 0
        best = marked(leads(case, first), np.ones((tables, TASKS)))[:, 0] > 0
        shares[f"best +{lead}"] = 100 * float((best & is_first).mean())
        beats = declared(over_identity(case, ahead))[:, 0]
        shares[f"identity +{lead}"] = 100 * float(beats.mean())
        shares[f"--compare +{lead}"] = 100 * float(declared(compared(case, ahead))[:, 0].mean())
    return shares


def cases(seeds: tuple[int, ...] = SEEDS) -> Iterator[Case]:
    """Yield all cases."""
    yield from itertools.starmap(Case, itertools.product(seeds, SPREADS, SIZES))


def answers(case: Case, rng: np.random.Generator) -> Float[np.ndarray, "mechanisms seeds n"]:
    """Draw which examples two mechanisms of the same accuracy answer rightly."""
    ease = rng.normal(0, 1, case.size) + rng.normal(0, 0.5, (2, 1, case.size))
    # An accuracy changes by 0.266 for each unit of the latent number.
    luck = rng.normal(0, case.spread / 100 / 0.266, (2, case.seeds, 1))
    return rng.random((2, case.seeds, case.size)) < ndtr(ease + luck)


def by_answers(case: Case, pairs: int, rng: np.random.Generator) -> float:
    """Return in percent how often single answers make two equal mechanisms differ at 5 %."""
    return 100 * float(np.mean([_differ(answers(case, rng)) for _ in range(pairs)]))


def _differ(right: Float[np.ndarray, "mechanisms seeds n"]) -> bool:
    return paired(right[0].astype(np.int8) - right[1]).p < LEVEL


def main() -> None:
    """Print all tables."""
    tables = int(sys.argv[1]) if len(sys.argv) > 1 else 4_000
    rng = np.random.default_rng(0)
    for name, measure in (("Signs of equal mechanisms, %", wrong), ("Leads found, %", found)):
        rows = [{**vars(case), **measure(case, tables, rng)} for case in cases()]
        show(name, pd.DataFrame(rows))
        if measure is wrong:
            most: Any = pd.DataFrame(rows).groupby("seeds", as_index=False).max()
            show(f"{name}: the most", most)
    case = Case(3, 1.0, 2_000)
    print(f"One pair of {case}, by single answers: {by_answers(case, tables, rng):.1f} %")


def show(name: str, table: pd.DataFrame) -> None:
    """Print a table with its name."""
    text = {key: table[key].astype(str) for key in ("seeds", "size")}
    shown = table.assign(**text).to_markdown(index=False, floatfmt=".1f", disable_numparse=[0, 2])
    print(f"### {name}\n\n{shown}\n", flush=True)


if __name__ == "__main__":
    main()
