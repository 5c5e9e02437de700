"""Measure how fast the attentions are: against each other, against PyTorch's, and by length.

    python benchmarks/attention.py SECTION ... [--rounds 3] [--out FILE]

Sections: gemm, peers, crossover, causal, transformer, memory, slopes, causal-slopes; default: all.
Peers and crossover need PyTorch: `pip install 'lra-bench[peers]'`. Every measurement has its own
process. The attentions take turns, so that a drift of the machine affects all. Tables show medians
over the rounds, of forward and backward pass together, in CPU time unless they name another unit.
Batch 1, 8 heads of 64, 256 features, float32, two threads; inputs N(0, 1). With --out, each
measurement is kept as a JSON line, and a second call adds what is missing.
"""

import argparse
import importlib
import json
import math
from pathlib import Path
from typing import Any

from _bench import THREADS, Bench, Call, measure
from _sections import command_line, run_sections, show

from lra_bench.scaling import fits

HEADS, HEAD_DIM, FEATURES = 8, 64, 256


def attention(name: str, length: int, options: dict[str, Any]) -> Call:
    """Return a call of forward and backward pass of a registered mechanism."""
    return _gradient(_mechanism(name, length, options), length)


def _mechanism(name: str, length: int, options: dict[str, Any]) -> Any:
    """Return a registered mechanism as a function of q, k and v without padding."""
    import jax.numpy as jnp
    from flax import nnx

    from lra_bench.contracts import Dims
    from lra_bench.model.mechanism import build_attention

    call = build_attention(name, Dims(HEADS, HEAD_DIM, length), options, nnx.Rngs(0))
    mask = jnp.ones((1, length), bool)
    return lambda q, k, v: call(q, k, v, mask)


def _qkv(length: int) -> list[Any]:
    """Return queries, keys and values of N(0, 1)."""
    import jax

    keys = jax.random.split(jax.random.key(0), 3)
    return [jax.random.normal(key, (1, length, HEADS, HEAD_DIM)) for key in keys]


def _gradient(call: Any, length: int) -> Call:
    import jax
    import jax.numpy as jnp

    qkv = _qkv(length)
    total = jax.grad(lambda *qkv: jnp.sum(jnp.sin(call(*qkv))), argnums=(0, 1, 2))
    compiled = jax.jit(total).lower(*qkv).compile()
    return lambda: jax.block_until_ready(compiled(*qkv))


def cotangents(name: str, length: int, options: dict[str, Any]) -> Call:
    """Return a call of forward and backward pass alone, from given gradients of the output."""
    import jax

    call, qkv = _mechanism(name, length, options), _qkv(length)

    def both(*qkv: Any) -> Any:
        out, pull = jax.vjp(call, *qkv)
        return out, pull(qkv[2])

    compiled = jax.jit(both).lower(*qkv).compile()
    return lambda: jax.block_until_ready(compiled(*qkv))


def operations(name: str, length: int, options: dict[str, Any]) -> float:
    """Return the floating-point operations of `cotangents`; NaN if they are unknown."""
    import jax

    from lra_bench.runtime.flops import count_flops

    call, qkv = _mechanism(name, length, options), _qkv(length)
    return count_flops(lambda *qkv: jax.vjp(call, *qkv)[1](qkv[2]), *qkv) or math.nan


def product(name: str, length: int, options: dict[str, Any]) -> Call:
    """Return a call of one product of float32 matrices, of `options["shape"]` (n, k, m)."""
    del name, length
    import jax

    n, k, m = options["shape"]
    a, b = (jax.random.normal(jax.random.key(0), shape) for shape in ((n, k), (k, m)))
    compiled = jax.jit(lambda a, b: a @ b).lower(a, b).compile()
    return lambda: jax.block_until_ready(compiled(a, b))


def per_token(name: str, length: int, options: dict[str, Any]) -> Call:
    """Return a call of causal FAVOR+ token by token.

    A scan adds each token to the sums, and its backward pass subtracts it again, as in the
    Performer authors' first JAX code: first for the numerator, then for the normaliser. The
    features are this project's.
    """
    import jax
    import jax.numpy as jnp
    from flax import nnx

    from lra_bench.contracts import Dims
    from lra_bench.model.mechanism import build_attention

    module: Any = build_attention(name, Dims(HEADS, HEAD_DIM, length), options, nnx.Rngs(0))

    def forward(phi_q: Any, phi_k: Any, v: Any) -> Any:
        def token(state: Any, x: Any) -> Any:
            q, k, v = x
            state += jnp.einsum("bhm,bhd->bhmd", k, v)
            return state, jnp.einsum("bhm,bhmd->bhd", q, state)

        start = jnp.zeros((*phi_q.shape[1:], v.shape[-1]))
        state, out = jax.lax.scan(token, start, (phi_q, phi_k, v))
        return out, (phi_q, phi_k, v, state)

    def backward(kept: Any, gradient: Any) -> Any:
        def token(carry: Any, x: Any) -> Any:
            state, d_state = carry
            q, k, v, g = x
            d_q = jnp.einsum("bhd,bhmd->bhm", g, state)
            d_state += jnp.einsum("bhm,bhd->bhmd", q, g)
            d_k = jnp.einsum("bhmd,bhd->bhm", d_state, v)
            d_v = jnp.einsum("bhmd,bhm->bhd", d_state, k)
            state -= jnp.einsum("bhm,bhd->bhmd", k, v)
            return (state, d_state), (d_q, d_k, d_v)

        *inputs, state = kept
        start = (state, jnp.zeros_like(state))
        return jax.lax.scan(token, start, (*inputs, gradient), reverse=True)[1]

    sums: Any = jax.custom_vjp(lambda *x: forward(*x)[0])
    sums.defvjp(forward, backward)

    def call(q: Any, k: Any, v: Any) -> Any:
        phi_q, phi_k = (
            module.features(jnp.swapaxes(x, 1, 2), module.projection[...]).value() for x in (q, k)
        )
        phi_q, phi_k = (jnp.moveaxis(x, 2, 0) for x in (phi_q, phi_k))
        v = jnp.moveaxis(v, 1, 0)
        numerator, normaliser = (sums(phi_q, phi_k, x) for x in (v, jnp.ones_like(v[..., :1])))
        return jnp.moveaxis(numerator / normaliser, 0, 1)

    return _gradient(call, length)


def torch_attention(name: str, length: int, options: dict[str, Any]) -> Call:
    """Return a call of forward and backward pass of performer-pytorch's or PyTorch's attention."""
    del options
    torch: Any = importlib.import_module("torch")
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    qkv = [torch.randn(1, HEADS, length, HEAD_DIM, requires_grad=True) for _ in range(3)]
    if name == "torch-sdpa":
        call = torch.nn.functional.scaled_dot_product_attention
    else:
        peer: Any = importlib.import_module("performer_pytorch")
        relu = name == "performer-pytorch-relu"
        call = peer.FastAttention(HEAD_DIM, FEATURES, generalized_attention=relu)

    def run() -> None:
        for x in qkv:
            x.grad = None
        torch.sin(call(*qkv)).sum().backward()

    return run


def transformer(name: str, length: int, options: dict[str, Any]) -> Call:
    """Return a call of the paper's "Regular" or "Small" Transformer (Fig. 3) without embedding.

    "identity-with-qk" also computes queries and keys, which "identity" leaves out.
    """
    import jax
    import jax.numpy as jnp
    from flax import nnx

    from lra_bench.contracts import Dims
    from lra_bench.model.encoder import Block, SelfAttention
    from lra_bench.settings import ModelSettings

    heads, ffn, width = {"regular": (8, 2_048, 512), "small": (1, 64, 64)}[options["size"]]
    settings = ModelSettings(
        6, width, ffn, heads, width // heads, "learned", "mean", 0.0, "threefry", "float32"
    )
    rngs, dims = nnx.Rngs(0), Dims(heads, width // heads, length)
    registered = name.removesuffix("-with-qk")
    blocks = nnx.List(
        Block(settings, SelfAttention(settings, dims, registered, {}, rngs), rngs)
        for _ in range(settings.num_layers)
    )
    if name.endswith("-with-qk"):
        for block in blocks:
            block.attention.attend = _with_queries_and_keys
    graph, params, sampled = nnx.split(blocks, nnx.Param, ...)
    x = jax.random.normal(jax.random.key(0), (1, length, width))
    mask = jnp.ones((1, length), bool)

    def total(params: Any, x: Any) -> Any:
        for block in nnx.merge(graph, params, sampled):
            x = block(x, mask, None)
        return jnp.sum(jnp.sin(x))

    compiled = jax.jit(jax.grad(total, argnums=(0, 1))).lower(params, x).compile()
    return lambda: jax.block_until_ready(compiled(params, x))


def _with_queries_and_keys(q: Any, k: Any, v: Any, mask: Any) -> Any:
    """Return V plus a tiny multiple of Q and K, which the compiler can't remove."""
    del mask
    return v + 1e-30 * (q + k)


MAKERS = {
    "attention": attention,
    "cotangents": cotangents,
    "product": product,
    "per-token": per_token,
    "torch": torch_attention,
    "transformer": transformer,
}


def spec(maker: str, name: str, length: int, **options: Any) -> dict[str, Any]:
    """Return what a measuring process reads from its command line."""
    return {"maker": maker, "name": name, "length": length, "options": options}


# Square, and the projection of a chunk of 256 tokens.
PRODUCTS = ((2_048, 2_048, 2_048), (2_048, HEAD_DIM, FEATURES))


def gemm(bench: Bench) -> None:
    """Compare operations a CPU second with those of products of matrices."""
    names = [(x, c) for x in ("performer-softmax", "performer-relu", "linear") for c in (0, 1)]
    products = [spec("product", "x".join(map(str, x)), x[0], shape=x) for x in PRODUCTS]
    calls = [spec("cotangents", x, 8_192, **({"causal": True} if c else {})) for x, c in names]
    medians = bench.medians([*products, *calls])
    work = [2 * n * k * m for n, k, m in PRODUCTS]
    work += [operations(x["name"], x["length"], x["options"]) for x in calls]
    rates = [count / m["cpu"] for count, m in zip(work, medians, strict=True)]
    rows = []
    for index, one in enumerate([*products, *calls]):
        cpu, causal = medians[index]["cpu"], "causal" in one["options"]
        row = {"call": one["name"] + (", causal" if causal else ""), "CPU s": cpu}
        row |= {"GFLOP / CPU s": rates[index] / 1e9, "share of GEMM": rates[index] / rates[0]}
        rows.append(row | ({"of bidirectional": cpu / medians[index - 1]["cpu"]} if causal else {}))
    show(rows)


def peers(bench: Bench) -> None:
    """Compare with performer-pytorch and PyTorch's exact attention."""
    pairs = (
        ("performer-softmax", "performer-pytorch-softmax"),
        ("performer-relu", "performer-pytorch-relu"),
        ("performer-softmax", "torch-sdpa"),
        ("performer-relu", "torch-sdpa"),
        ("softmax-chunked", "torch-sdpa"),
    )
    for length in (4_096, 8_192):
        ours = [spec("attention", name, length) for name in dict.fromkeys(p[0] for p in pairs)]
        theirs = [spec("torch", name, length) for name in dict.fromkeys(p[1] for p in pairs)]
        medians = bench.medians([*ours, *theirs])
        by_name = {s["name"]: m for s, m in zip([*ours, *theirs], medians, strict=True)}
        show([_against(length, name, peer, by_name) for name, peer in pairs])


def _against(length: int, name: str, peer: str, medians: dict[str, Any]) -> dict[str, Any]:
    return {
        "length": length,
        "attention": name,
        "CPU s": medians[name]["cpu"],
        "against": peer,
        "its CPU s": medians[peer]["cpu"],
        "times faster": medians[peer]["cpu"] / medians[name]["cpu"],
        "in wall time": medians[peer]["wall"] / medians[name]["wall"],
    }


def crossover(bench: Bench) -> None:
    """Find the length from which the linear attentions beat each exact one."""
    lengths = (256, 512, 1_024, 2_048, 4_096)
    linear = ("performer-softmax", "performer-relu", "linear")
    exact = ("softmax", "softmax-fused", "softmax-chunked", "torch-sdpa")
    specs = [
        spec("torch" if name.startswith("torch") else "attention", name, length)
        for length in lengths
        for name in (*linear, *exact)
    ]
    medians = bench.medians(specs)
    results = {(s["name"], s["length"]): m for s, m in zip(specs, medians, strict=True)}
    cpu = {name: [results[name, length]["cpu"] for length in lengths] for name in (*linear, *exact)}
    names = [str(length) for length in lengths]
    show([{"attention": x, **dict(zip(names, cpu[x], strict=True))} for x in cpu])
    rows = [
        {"attention": name}
        | {f"beats {x} from": str(fits.crossover(lengths, cpu[name], cpu[x])) for x in exact}
        for name in linear
    ]
    show(rows)


def causal(bench: Bench) -> None:
    """Compare causal FAVOR+ in chunks with causal FAVOR+ token by token."""
    rows = []
    for name in ("performer-softmax", "performer-relu"):
        specs = [
            spec("attention", name, 8_192, causal=True),
            spec("per-token", name, 8_192),
            spec("attention", name, 8_192),
        ]
        chunked, token, both = bench.medians(specs)
        rows.append(
            {
                "attention": name,
                "CPU s": chunked["cpu"],
                "per token, CPU s": token["cpu"],
                "times faster": token["cpu"] / chunked["cpu"],
                "in wall time": token["wall"] / chunked["wall"],
                "of bidirectional": chunked["cpu"] / both["cpu"],
            }
        )
    show(rows)


def whole_transformer(bench: Bench) -> None:
    """Compare the Transformers of Fig. 3 with the same Transformer with identity, "X (OPT)"."""
    names = ("identity", "identity-with-qk", "performer-relu", "performer-softmax", "linear")
    rows = []
    for size, length in (("regular", 8_192), ("small", 16_384)):
        medians = bench.medians(spec("transformer", name, length, size=size) for name in names)
        bare, full = medians[0]["cpu"], medians[1]["cpu"]
        rows += [
            {
                "size": size,
                "length": length,
                "attention": name,
                "CPU s": m["cpu"],
                "of identity with Q, K": m["cpu"] / full,
                "of identity": m["cpu"] / bare,
            }
            for name, m in zip(names, medians, strict=True)
        ]
    show(rows)


def memory(bench: Bench) -> None:
    """Measure how much a fresh process's peak RSS grows in one forward and backward pass."""
    names = ("softmax", "softmax-fused", "softmax-chunked", "performer-softmax", "performer-relu")
    medians = bench.medians(spec("attention", name, 8_192) for name in names)
    largest = medians[0]["peak"]
    show(
        [
            {"attention": name, "MiB": m["peak"] / 2**20, "softmax / this": largest / m["peak"]}
            for name, m in zip(names, medians, strict=True)
        ]
    )


LENGTHS = (2_048, 4_096, 8_192, 16_384, 32_768)


def slopes(bench: Bench) -> None:
    """Fit the exponents of time and memory in the length, by least squares in log-log."""
    names = ("performer-softmax", "performer-relu", "linear", "linformer", "reformer")
    rows = []
    for name in names:
        medians = bench.medians(spec("attention", name, length) for length in LENGTHS)
        rows.append({"attention": name, **_exponents(LENGTHS, medians)})
    show(rows)


def causal_slopes(bench: Bench) -> None:
    """Fit the exponents of time and memory of causal attention in the length."""
    rows = []
    for name in ("performer-softmax", "performer-relu", "linear", "reformer"):
        specs = [spec("attention", name, length, causal=True) for length in LENGTHS]
        rows.append({"attention": name, **_exponents(LENGTHS, bench.medians(specs))})
    show(rows)


def _exponents(lengths: tuple[int, ...], medians: list[dict[str, float]]) -> dict[str, Any]:
    """Fit exponents by least squares in log-log; compute the ratios of the last doubling."""
    row: dict[str, Any] = {}
    for label, key in (("time", "cpu"), ("memory", "peak")):
        values = [m[key] for m in medians]
        row[f"{label} exponent"] = str(fits.fit_exponent(lengths, values))
        row[f"{label}, last doubling"] = values[-1] / values[-2]
    return row


SECTIONS = {
    "gemm": gemm,
    "peers": peers,
    "crossover": crossover,
    "causal": causal,
    "transformer": whole_transformer,
    "memory": memory,
    "slopes": slopes,
    "causal-slopes": causal_slopes,
}


def main() -> None:
    """Run the sections on the command line, or all; or measure one spec as a child."""
    parser = command_line(__doc__, SECTIONS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, metavar="FILE")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        one = json.loads(args.child)
        print(json.dumps(measure(MAKERS[one["maker"]](one["name"], one["length"], one["options"]))))
        return
    run_sections(SECTIONS, args.sections, Bench(__file__, args.rounds, args.out))


if __name__ == "__main__":
    main()
