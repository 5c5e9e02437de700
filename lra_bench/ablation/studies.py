"""The ablations: which attentions and settings each compares, and how it names them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lra_bench.errors import UsageError, unknown
from lra_bench.registry import ATTENTIONS
from lra_bench.sweep.plan import Choice

Config = Mapping[str, Any]
GENERALIZED, SOFTMAX = "performer-generalized", "performer-softmax"
# The features of attentions that offer no choice of them.
_FEATURES = {"performer-relu": "ReLU", "linear": "elu + 1"}


@dataclass(frozen=True)
class Ablation:
    """An Ablation compares variants of attention and holds everything else fixed.

    Attributes:
        name: of the study, its folder and its files.
        title: what is compared, in words.
        attentions: names of the attentions.
        grid: pairs of a setting and the values to try.
        columns: titles of the columns that name a variant; each gives its text for a run's config.
        panel: the column that has a panel of the figure for each text; None for one panel.
        quantities: what the figure shows of the training: "accuracy", "loss".
        early: whether the first steps matter, so that the axis of steps is logarithmic.
    """

    name: str
    title: str
    attentions: tuple[str, ...]
    grid: tuple[tuple[str, tuple[str, ...]], ...]
    columns: Mapping[str, Callable[[Config], str]]
    panel: str | None
    quantities: tuple[str, ...] = ("accuracy",)
    early: bool = False

    @property
    def varied(self) -> tuple[str, ...]:
        """Return the settings that differ between the variants."""
        return tuple(key for key, _ in self.grid)

    def choice(
        self, task: str, preset: str, seeds: tuple[int, ...], overrides: Sequence[str]
    ) -> Choice:
        """Return which runs the study has.

        Args:
            task: name of the task.
            preset: preset of all runs.
            seeds: each variant has one run for each of these.
            overrides: settings of all runs, as "key=value".

        Raises:
            UsageError: an override sets what the study varies.
        """
        for override in overrides:
            key = override.partition("=")[0].strip()
            if key in self.varied:
                raise UsageError(f"--set {key}: the study {self.name} tries several values of it")
        return Choice((task,), self.attentions, seeds, preset, tuple(overrides), self.grid)

    def texts(self, config: Config) -> tuple[str, ...]:
        """Return the texts that name the variant of a run, one for each column."""
        return tuple(text(config) for text in self.columns.values())


def kernels(names: Sequence[str] = ()) -> Ablation:
    """Return the study of Appendix D.3, Figs. 16 and 17: kernels, with and without normaliser.

    Args:
        names: of the kernels; none for all.

    Raises:
        UsageError: there is no such kernel.
    """
    every = ATTENTIONS.get(GENERALIZED).choices()["kernel"]
    for name in names:
        if name not in every:
            raise unknown("kernel", name, every)
    return Ablation(
        name="kernels",
        title="kernels of generalized attention",
        attentions=(GENERALIZED,),
        grid=(
            ("attention.kernel", tuple(names) or every),
            ("attention.renormalize", ("true", "false")),
        ),
        columns={
            "kernel": lambda config: str(config["attention_options"].get("kernel")),
            "renormalised": _renormalised,
        },
        panel="renormalised",
        early=True,
    )


def _renormalised(config: Config) -> str:
    return "yes" if config["attention_options"].get("renormalize") else "no"


def redraw(every: Sequence[int]) -> Ablation:
    """Return the study of Fig. 15, left: how often random features are redrawn.

    Args:
        every: numbers of steps after which features are redrawn; 0 for never.
    """
    return Ablation(
        name="redraw",
        title="redrawing of random features",
        attentions=(SOFTMAX,),
        grid=(("train.resample_every", tuple(map(str, every))),),
        columns={"redrawn": _redrawn},
        panel="redrawn",
    )


def _redrawn(config: Config) -> str:
    steps = config["train"]["resample_every"]
    return f"every {steps:,} steps" if steps > 1 else "every step" if steps else "never"


def stability() -> Ablation:
    """Return the study of Fig. 15, right, and Fig. 18: which attentions train without diverging.

    Softmax attention by positive and by trigonometric features, Performer-ReLU, and the Linear
    Transformer.
    """
    return Ablation(
        name="stability",
        title="stability of training",
        attentions=(SOFTMAX, "performer-relu", "linear"),
        grid=(("attention.estimator", ("positive", "trigonometric")),),
        columns={"attention": lambda config: config["attention"], "features": _features},
        panel=None,
        quantities=("accuracy", "loss"),
        early=True,
    )


def _features(config: Config) -> str:
    return config["attention_options"].get("estimator") or _FEATURES.get(config["attention"], "")
