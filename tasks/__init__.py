"""Tasks, one a file.

A task is a frozen dataclass of its data options (every field has a default), registered by
`lra_bench.registry.register_task`, with

    name, num_classes, vocab_size: as they are called
    pad_id: the token id that is padding, or None where every token is real
    max_len: tokens of an example (of one document, if `paired`)
    paired: whether an example is two documents
    sources: where its data can come from; the first is the default
    version: raised whenever the same options would give other data
    data_options(source): the options that the data from that source depend on
    read(source, path): yields (split, tokens, labels), split by split in the order train,
        validation, test: tokens uint8 or uint16 (n, max_len), or (n, 2, max_len) if paired;
        labels int (n,)
    to_text(tokens): an example as a person reads it
    official(source, sizes): whether these data are the benchmark's published ones

The harness writes what `read` yields to a token store, from which example `index` of a split is
the same on any machine. Modules whose name begins with an underscore hold helpers.
"""
