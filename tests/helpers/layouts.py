"""Tiny data in the layouts of the official files, read by the code that reads the real ones."""

import io
import tarfile

import numpy as np
from PIL import Image

from lra_bench.tasks._listops_trees import Limits, generate, to_source

GOOD = b"a wonderful film with a superb cast, moving and brilliant. <br /><br />See it! "
BAD = b"a dreadful bore with awful acting, stupid and a waste of time. <br />Avoid it! "
TOPICS = (b"parsing grammar treebank syntax ", b"speech acoustic phoneme audio ")


def add(tar, name, content):
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def imdb(path, train=100, test=20, extra=()):
    """aclImdb_v1.tar.gz with so many reviews of each class, some of them not UTF-8."""
    rng = np.random.default_rng(0)
    with tarfile.open(path, "w:gz") as tar:
        add(tar, "aclImdb/README", b"not read")
        add(tar, "aclImdb/train/unsup/0_0.txt", b"not read either")
        for split, count in (("train", train), ("test", test)):
            for label, words, rating in (("neg", BAD, 2), ("pos", GOOD, 9)):
                for number in range(count):
                    noise = rng.integers(97, 123, 30, dtype=np.uint8).tobytes()
                    review = noise + b" caf\xe9 " + words * int(rng.integers(1, 4))
                    add(tar, f"aclImdb/{split}/{label}/{number}_{rating}.txt", review)
        for name, content in extra:
            add(tar, name, content)
    return path


def cifar_records(count, seed=0):
    """Records of a label and three planes, uint8 (count, 3073); the label is in the brightness."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 10
    pixels = labels[:, None] * 22 + rng.integers(0, 30, (count, 3072))
    return np.concatenate([labels[:, None], pixels], axis=1).astype(np.uint8)


def cifar(path, train=60, test=200, extra=()):
    """cifar-10-binary.tar.gz with so many records in each of its files; `extra` replaces files."""
    root = "cifar-10-batches-bin"
    files = {f"{root}/batches.meta.txt": b"airplane\n"}
    for number in range(1, 6):
        files[f"{root}/data_batch_{number}.bin"] = cifar_records(train, number).tobytes()
    files[f"{root}/test_batch.bin"] = cifar_records(test).tobytes()
    with tarfile.open(path, "w:gz") as tar:
        for name, content in (files | dict(extra)).items():
            add(tar, name, content)
    return path


def proteins(path, count=300, organism="Homo sapiens", seed=0):
    """A FASTA file of random proteins of 20 to 60 residues, with headers of UniProt."""
    rng = np.random.default_rng(seed)
    letters = np.frombuffer(b"ACDEFGHIKLMNPQRSTVWY", np.uint8)
    with path.open("ab") as file:
        for number in range(count):
            residues = rng.choice(letters, rng.integers(20, 60)).tobytes()
            header = f">sp|P{seed}X{number:05d}|X_Y Name OS={organism} OX=1 PE=1"
            file.write(b"%s\n%s\n" % (header.encode(), residues))
    return path


def listops(folder):
    """The files of the ListOps release, with few rows; return the folder."""
    rng = np.random.default_rng(0)
    for name, count in (("train", 64), ("val", 32), ("test", 32)):
        tokens, arities, values = generate(rng, count, Limits(4, 40))
        rows = zip(tokens, arities, values, strict=True)
        text = "".join(f"{to_source(*x)}\t{value}\n" for *x, value in rows)
        (folder / f"basic_{name}.tsv").write_text("Source\tTarget\n" + text)
    return folder


def aan(folder, sizes=(256, 64, 64)):
    """new_aan_pairs.*.tsv: pairs on one topic cite each other."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for split, size in zip(("train", "eval", "test"), sizes, strict=True):
        with (folder / f"new_aan_pairs.{split}.tsv").open("wb") as file:
            for row in range(size):
                label, topic = row % 2, int(rng.integers(2))
                texts = [TOPICS[topic], TOPICS[topic if label else 1 - topic]]
                noise = [rng.integers(97, 123, 20, dtype=np.uint8).tobytes() for _ in texts]
                one, two = (x + b" \xff " + text * 2 for x, text in zip(noise, texts, strict=True))
                file.write(b"%d.0\tP%d\tQ%d\t%s\t%s\n" % (label, row, row, one, two))
    return folder


def pathfinder(folder, images, labels, *, text=True, batches=2):
    """imgs/K/sample_N.png and metadata/K.npy, in the release's form or in the generator's."""
    for batch in range(batches):
        (folder / f"imgs/{batch}").mkdir(parents=True, exist_ok=True)
        (folder / "metadata").mkdir(exist_ok=True)
        rows = []
        for number, index in enumerate(range(batch, len(images), batches)):
            name = f"sample_{number}.png"
            Image.fromarray(images[index]).save(folder / f"imgs/{batch}/{name}")
            label = str(int(labels[index]))
            rows.append([f"imgs/{batch}", name, str(number), label, "1.0", "14", "4", "2", "0.5"])
        file = folder / f"metadata/{batch}.npy"
        if text:
            file.write_text("".join(" ".join(row) + "\n" for row in rows))
        else:
            np.save(file, np.array(rows))
    return folder
