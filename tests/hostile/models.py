"""Attacks by a Keras file: each builder writes one into a folder and returns its path."""

from __future__ import annotations

import base64
import marshal
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tests.hostile.corpus import CANARY, Builder, Corpus, packed_zeros
from tests.made.keras_files import SMALL, edit_layer, random_weights, write_keras_file

ATTACKS = Corpus()
KERNEL = "conv_3/conv_3/kernel:0"
SHAPE = (3, 3, 4, 6)


WEIGHTS = random_weights(SMALL)


def sound(folder: Path, **options: Any) -> Path:
    return write_keras_file(folder / "net.h5", SMALL, WEIGHTS, **options)


def changed(change: Callable[[h5py.File, h5py.Group], Any], **options: Any) -> Builder:
    """A sound file on which `change(file, model_weights)` was let loose."""

    def build(folder: Path) -> Path:
        path = sound(folder, **options)
        with h5py.File(path, "r+") as file:
            change(file, file["model_weights"])
        return path

    return build


def kernel(**dataset: Any) -> Builder:
    """A sound file whose conv_3 kernel is another dataset."""

    def change(_: h5py.File, group: h5py.Group) -> None:
        del group[KERNEL]
        group.create_dataset(KERNEL, **dataset)

    return changed(change)


def configured(edit: Callable[[dict[str, Any]], Any]) -> Builder:
    """A sound file whose model_config was edited."""
    return lambda folder: sound(folder, edit=edit)


def raw_config(text: Any) -> Builder:
    def change(file: h5py.File, _: h5py.Group) -> None:
        del file.attrs["model_config"]
        large_attribute(file, "model_config", text() if callable(text) else text)

    return changed(change)


def large_attribute(node: h5py.Group, name: str, value: str) -> None:
    """A text attribute of any length: the text lies on the heap, outside the 64 kB of a header."""
    node.attrs.create(name, value, dtype=h5py.string_dtype())


def layer_of(config: dict[str, Any], name: str) -> dict[str, Any]:
    return next(layer for layer in config["config"]["layers"] if layer["name"] == name)


def more_layer(
    config: dict[str, Any], class_name: str, module: str | None = None, **settings: Any
) -> None:
    """Put a layer between activation_1 and output, and give it a group among the weights."""
    layer = {
        "class_name": class_name,
        "config": {"name": "evil", **settings},
        "name": "evil",
        "inbound_nodes": [[["activation_1", 0, 0, {}]]],
    }
    if module:
        layer["module"] = module
    config["config"]["layers"].insert(-1, layer)
    layer_of(config, "output")["inbound_nodes"] = [[["evil", 0, 0, {}]]]


def marshalled(folder: Path) -> str:
    """Code that leaves a file behind when it is run, as Keras 2 stores a Lambda's."""
    code = compile(f"open({str(folder / CANARY)!r}, 'w').close()", "lambda", "exec")
    return base64.b64encode(marshal.dumps(code)).decode()


def replaced(where: str, link: Any) -> Builder:
    def change(_: h5py.File, group: h5py.Group) -> None:
        del group[where]
        group[where] = link

    return changed(change)


def elsewhere(folder: Path) -> Path:
    path = folder / "elsewhere.h5"
    if not path.exists():
        with h5py.File(path, "w") as file:
            file["secret"] = np.zeros(SHAPE, "f4")
            file.create_group("model_weights")
    return path


# Links: to other files, to elsewhere in this one, to themselves, on every part of the way.
for place in ("conv_3", "conv_3/conv_3", KERNEL):
    for kind, link in {
        "external": h5py.ExternalLink("elsewhere.h5", "/secret"),
        "external-passwd": h5py.ExternalLink("/etc/passwd", "/"),
        "soft": h5py.SoftLink("/model_weights/conv_2"),
        "soft-loop": h5py.SoftLink(f"/model_weights/{place}"),
    }.items():
        ATTACKS.add(f"link-{kind}-{place.count('/')}", replaced(place, link), "refused|damaged")


@ATTACKS("the weights' own group is an external link", "external link")
def linked_root(folder: Path) -> Path:
    elsewhere(folder)
    path = sound(folder)
    with h5py.File(path, "r+") as file:
        del file["model_weights"]
        file["model_weights"] = h5py.ExternalLink("elsewhere.h5", "/model_weights")
    return path


@ATTACKS("hard links in a circle, walked by a long name", "missing conv_3")
def hard_link_circle(folder: Path) -> Path:
    def change(_: h5py.File, group: h5py.Group) -> None:
        group["conv_3/again"] = group["conv_3"]
        group["conv_3"].attrs["weight_names"] = ["again/" * 150 + "nothing"]

    return changed(change)(folder)


@ATTACKS("ten thousand names of one array", "two weights|at most|unexpected|left over")
def many_names(folder: Path) -> Path:
    def change(_: h5py.File, group: h5py.Group) -> None:
        names = []
        for index in range(5_000):
            group[f"conv_3/w{index}"] = group[KERNEL]
            names.append(f"w{index}".encode())
        del group["conv_3"].attrs["weight_names"]
        group["conv_3"].attrs.create("weight_names", names, dtype="S6")

    return changed(change)(folder)


def spread(driver: str, part: str, **options: Any) -> Builder:
    """A part of an HDF5 that asks for its other parts as soon as it is opened."""

    def build(folder: Path) -> Path:
        path = folder / part.replace("%d", "0")
        with h5py.File(folder / part.removesuffix("-m.h5"), "w", driver=driver, **options) as file:
            file["model_weights/kernel"] = np.zeros(1000)
        return path

    return build


ATTACKS.add("a first file of a family", spread("family", "net%d.h5", memb_size=2**20), "one file")
ATTACKS.add("a file of a split pair", spread("split", "net-m.h5"), "one file")


# CVE-2026-1669 and its kin: bytes that lie in other files.
ATTACKS.add(
    "CVE-2026-1669 external storage",
    kernel(shape=SHAPE, dtype="f4", external=[("/etc/passwd", 0, 864)]),
    "external storage",
)


@ATTACKS("CVE-2026-1669 virtual dataset", "virtual dataset")
def virtual(folder: Path) -> Path:
    layout = h5py.VirtualLayout(SHAPE, "f4")
    layout[...] = h5py.VirtualSource(elsewhere(folder), "secret", SHAPE)
    path = sound(folder)
    with h5py.File(path, "r+") as file:
        del file["model_weights"][KERNEL]
        file["model_weights"].create_virtual_dataset(KERNEL, layout)
    return path


ATTACKS.add(
    "CVE-2026-1669 external link",
    replaced(KERNEL, h5py.ExternalLink("/etc/hostname", "/")),
    "external link",
)


# CVE-2026-0897: little on disk, much in memory.
ATTACKS.add(
    "CVE-2026-0897 shape bomb",
    kernel(shape=(2**20, 2**20, 2**10), dtype="f4", chunks=(64, 64, 64)),
    "bytes declared",
)
ATTACKS.add(
    "petabyte, contiguous and never written", kernel(shape=(2**48,), dtype="f4"), "declared"
)
ATTACKS.add(
    "more than the limit, compressed",
    kernel(shape=(2**25,), dtype="f4", chunks=(2**20,), compression="gzip", fillvalue=1),
    "bytes declared",
)
ATTACKS.add(
    "one chunk of 2 GB",
    kernel(shape=(16,), maxshape=(None,), dtype="f4", chunks=(2**29 - 1,), compression="gzip"),
    "bytes in a chunk",
)


def inflating_chunk(file: h5py.File, name: str, shape: tuple[int, ...], dtype: str) -> None:
    """A dataset whose only chunk unpacks to 2 GB, whatever it declares."""
    if name in file:
        del file[name]
    data = file.create_dataset(name, shape, dtype, chunks=shape, compression="gzip")
    data.id.write_direct_chunk((0,) * len(shape), packed_zeros(128))


@ATTACKS(
    "a chunk that inflates a thousandfold",
    "damaged|more memory than allowed|longer than allowed",
    heavy=True,
)
def inflating(folder: Path) -> Path:
    return changed(lambda _, group: inflating_chunk(group, KERNEL, SHAPE, "f4"))(folder)


@ATTACKS("texts that all are one large text", "damaged|at most", heavy=True)
def amplified(folder: Path) -> Path:
    """Every element of the attribute refers to the same megabytes on the file's heap."""
    path = sound(folder)
    with h5py.File(path, "r+") as file:
        group = file["model_weights"]
        del group.attrs["layer_names"]
        texts = ["A" * 2**20] + [f"{index:08}" * 2 for index in range(999)]
        group.attrs.create("layer_names", texts, dtype=h5py.string_dtype())
    content = bytearray(path.read_bytes())
    # A reference is: length (4 bytes), address of the heap (8), index in it (4).
    large = content.find(struct.pack("<I", 2**20))
    while large >= 0 and content[large + 16 : large + 20] != struct.pack("<I", 16):
        large = content.find(struct.pack("<I", 2**20), large + 1)
    assert large > 0
    for index in range(1, 1000):
        content[large + 16 * index : large + 16 * (index + 1)] = content[large : large + 16]
    path.write_bytes(content)
    return path


@ATTACKS("thousands of attributes", None, heavy=True)
def many_attributes(folder: Path) -> Path:
    path = folder / "net.h5"
    sound(folder)
    with h5py.File(path, "r+", libver="latest") as file:
        node = file.create_group("model_weights/conv_3/many")
        for index in range(5_000):
            node.attrs[f"layer_names{index}"] = 0
        del file["model_weights"]["conv_3"].attrs["weight_names"]
        file["model_weights"]["conv_3"].attrs["weight_names"] = ["many"]
    return path


@ATTACKS("names split into endless parts", "at most 100 parts")
def many_parts(folder: Path) -> Path:
    def change(_: h5py.File, group: h5py.Group) -> None:
        del group.attrs["layer_names"]
        for index in range(200):
            group.attrs[f"layer_names{index}"] = [f"conv_{index}"]

    return changed(change)(folder)


@ATTACKS("thousands of groups", "at most", heavy=True)
def many_groups(folder: Path) -> Path:
    def change(_: h5py.File, group: h5py.Group) -> None:
        names = [f"layer_{index}" for index in range(4_000)]
        for name in names:
            group.create_group(name)
        group.attrs.create("layer_names", names, dtype=h5py.string_dtype())

    return changed(change)(folder)


@ATTACKS("groups five thousand deep", "missing conv_3", heavy=True)
def deep_groups(folder: Path) -> Path:
    def change(_: h5py.File, group: h5py.Group) -> None:
        node = group["conv_3"]
        for _ in range(5_000):
            node = node.create_group("d")
        group["conv_3"].attrs["weight_names"] = ["d/" * 5_000 + "d"]

    return changed(change)(folder)


# model_config: size, depth, types.
ATTACKS.add(
    "a model_config of 100 MB",
    raw_config(lambda: "[" + "0," * (50 * 2**20) + "0]"),
    "at most|damaged",
    heavy=True,
)
ATTACKS.add(
    "a model_config full of objects",
    raw_config(lambda: "[" + "{}," * 1_300_000 + "0]"),
    "model_config",
    heavy=True,
)
ATTACKS.add("a model_config 100,000 deep", raw_config("[" * 100_000 + "]" * 100_000), "JSON")
ATTACKS.add("a model_config 900 deep", raw_config('{"a":' * 900 + "0" + "}" * 900), "model_config")
ATTACKS.add("a number of a million digits", raw_config('{"a":' + "9" * 1_000_000 + "}"), "JSON")
for name, text in {
    "empty": "",
    "null": "null",
    "list": "[]",
    "text": '"x"',
    "NaN": "NaN",
    "nested strings": '{"class_name": "Model", "config": "x"}',
    "layers a dict": '{"class_name": "Model", "config": {"layers": {"a": 1}}}',
    "layers numbers": '{"class_name": "Model", "config": {"layers": [1, 2]}}',
    "class a list": '{"class_name": ["Model"], "config": {}}',
    "class a dict": '{"class_name": {"Model": 1}, "config": {}}',
}.items():
    ATTACKS.add(f"model_config: {name}", raw_config(text), "model_config")


def nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


SHAPES = [
    10**9,
    [None, 10**9, 10**9, 3],
    [None, 10**30, 1, 3],
    [None, -55, -47, 3],
    [None, 55.0, 47.0, 3],
    [None, True, 47, 3],
    [None, "55", 47, 3],
    [None, float("nan"), float("inf"), 3],
    [None, [55], {"a": 1}, 3],
    {"0": 55},
    "55x47",
    [],
    nested(900),
    [None, 55, 47, nested(800)],
    [None, 0, 47, 3],
]
for index, shape in enumerate(SHAPES):
    ATTACKS.add(
        f"input shape {index}",
        configured(lambda c, shape=shape: edit_layer(c, "input", batch_input_shape=shape)),
        "model_config|JSON|too small|expected",
    )
for index, value in enumerate(
    [nested(900), {"config": nested(900)}, 10**400, float("nan"), True, {}, None]
):
    ATTACKS.add(
        f"strides {index}",
        configured(lambda c, value=value: edit_layer(c, "conv_2", strides=value)),
        "model_config|JSON",
    )
    ATTACKS.add(
        f"layer name {index}",
        configured(lambda c, value=value: layer_of(c, "conv_2")["config"].update(name=value)),
        "model_config|JSON|named|expected",
    )
    ATTACKS.add(
        f"inbound nodes {index}",
        configured(lambda c, value=value: layer_of(c, "conv_2").update(inbound_nodes=value)),
        "model_config|JSON",
    )
    ATTACKS.add(
        f"output layers {index}",
        configured(lambda c, value=value: c["config"].update(output_layers=value)),
        "model_config|JSON|one output",
    )


def dropout(name: str, source: str) -> dict[str, Any]:
    nodes = [[[source, 0, 0, {}]]]
    return {"class_name": "Dropout", "config": {"name": name}, "name": name, "inbound_nodes": nodes}


@ATTACKS("a circle of Dropouts", "reads itself")
def circle(folder: Path) -> Path:
    def edit(config: dict[str, Any]) -> None:
        config["config"]["layers"] += [dropout("a", "b"), dropout("b", "c"), dropout("c", "a")]
        layer_of(config, "output")["inbound_nodes"] = [[["a", 0, 0, {}]]]

    return sound(folder, edit=edit)


@ATTACKS("a layer that reads itself", "model_config")
def itself(folder: Path) -> Path:
    def edit(config: dict[str, Any]) -> None:
        layer_of(config, "conv_2")["inbound_nodes"] = [[["conv_2", 0, 0, {}]]]

    return sound(folder, edit=edit)


@ATTACKS("thousands of Dropouts in a row", "at most 1000 layers")
def chain(folder: Path) -> Path:
    def edit(config: dict[str, Any]) -> None:
        names = [f"d{index}" for index in range(3_000)]
        config["config"]["layers"] += [
            dropout(name, source)
            for name, source in zip(names, [*names[1:], "activation_1"], strict=True)
        ]
        layer_of(config, "output")["inbound_nodes"] = [[["d0", 0, 0, {}]]]

    return sound(folder, edit=edit)


# Code: never decoded, never imported, refused by name.
@ATTACKS("CVE-2024-3660 Lambda", "refused: Lambda")
def lambda_layer(folder: Path) -> Path:
    def edit(config: dict[str, Any]) -> None:
        code = {"class_name": "__lambda__", "config": {"code": marshalled(folder)}}
        more_layer(config, "Lambda", function=code, function_type="lambda")

    return sound(folder, edit=edit)


@ATTACKS("CVE-2025-9905 Lambda in legacy h5, which ignores safe_mode", "refused: Lambda")
def lambda_in_h5(folder: Path) -> Path:
    def edit(config: dict[str, Any]) -> None:
        more_layer(
            config, "Lambda", function=[marshalled(folder), None, None], function_type="lambda"
        )

    return sound(folder, edit=edit)


def function(module: str, name: str, *arguments: Any) -> Builder:
    """A gadget: a function of any module in the place of an initializer."""
    gadget = {
        "module": module,
        "class_name": "function",
        "config": name,
        "registered_name": "function",
    }
    return configured(
        lambda c: edit_layer(c, "conv_1", kernel_initializer=gadget, kernel_arguments=arguments)
    )


ATTACKS.add("CVE-2025-1550 function of any module", function("subprocess", "run", "id"), "refused")
ATTACKS.add(
    "CVE-2025-1550 layer of any module",
    configured(lambda c: layer_of(c, "conv_1").update(module="os", registered_name="system")),
    "refused: .*os",
)
ATTACKS.add(
    "CVE-2025-8747 get_file",
    function("keras.utils", "get_file", "x", "http://localhost/"),
    "refused: function",
)
ATTACKS.add(
    "CVE-2025-9906 enable_unsafe_deserialization",
    function("keras.config", "enable_unsafe_deserialization"),
    "refused: function",
)
ATTACKS.add(
    "CVE-2025-49655 TorchModuleWrapper",
    configured(lambda c: more_layer(c, "TorchModuleWrapper", "keras.layers", code="gASVAA==")),
    "refused: TorchModuleWrapper",
)
for number, vocabulary in enumerate(("/etc/passwd", "http://localhost/vocabulary")):
    ATTACKS.add(
        f"CVE-2025-12058 StringLookup {number}",
        configured(lambda c, path=vocabulary: more_layer(c, "StringLookup", vocabulary=path)),
        "StringLookup",
    )
ATTACKS.add(
    "CVE-2026-1462 TFSMLayer",
    configured(lambda c: more_layer(c, "TFSMLayer", filepath="/tmp/saved_model")),
    "refused: TFSMLayer",
)
ATTACKS.add(
    "a custom layer", configured(lambda c: more_layer(c, "Evil", "evil.layers")), "refused: Evil"
)
ATTACKS.add(
    "a registered name",
    configured(lambda c: layer_of(c, "conv_1").update(registered_name="evil>Conv2D")),
    "refused: custom object",
)
ATTACKS.add(
    "a module that is no text",
    configured(lambda c: layer_of(c, "conv_1").update(module=nested(800))),
    "refused|JSON|model_config",
)
ATTACKS.add(
    "a Lambda nobody reads",
    configured(
        lambda c: c["config"]["layers"].append(
            {"class_name": "Lambda", "config": {"name": "x"}, "name": "x", "inbound_nodes": []}
        )
    ),
    "refused: Lambda",
)


# Types.
for name, dataset in {
    "complex": {"data": np.zeros(SHAPE, "c8")},
    "boolean": {"data": np.zeros(SHAPE, bool)},
    "opaque": {"data": np.zeros(SHAPE, "V8")},
    "bfloat16": {"data": np.zeros(SHAPE, "V2")},
    "compound": {"data": np.zeros(SHAPE, [("a", "f4"), ("b", "f4")])},
    "array": {"shape": SHAPE, "dtype": np.dtype(("f4", (1000, 1000)))},
    "enum": {"shape": SHAPE, "dtype": h5py.enum_dtype({"a": 1})},
    "text": {"shape": SHAPE, "dtype": h5py.string_dtype()},
    "fixed text": {"data": np.zeros(SHAPE, "S4")},
    "sequence": {"shape": SHAPE, "dtype": h5py.vlen_dtype(np.float32)},
    "reference": {"shape": SHAPE, "dtype": h5py.ref_dtype},
    "region": {"shape": SHAPE, "dtype": h5py.regionref_dtype},
    "integer": {"data": np.zeros(SHAPE, "i8")},
    "long double": {"data": np.zeros(SHAPE, "f16")},
    "empty": {"data": h5py.Empty("f4")},
    "scalar": {"data": np.float32(1)},
    "no rows": {"data": np.zeros((0, 3, 4, 6), "f4")},
    "other shape": {"data": np.zeros((6, 4, 3, 3), "f4")},
    "32 dimensions": {"data": np.zeros((1,) * 32, "f4")},
    "NaN": {"data": np.full(SHAPE, np.nan, "f4")},
    "infinite": {"data": np.full(SHAPE, np.inf, "f4")},
    "big-endian NaN": {"data": np.full(SHAPE, np.nan, ">f8")},
    "unknown filter": {
        "shape": SHAPE,
        "dtype": "f4",
        "chunks": SHAPE,
        "compression": 32001,
        "allow_unknown_filter": True,
    },
    "scale-offset": {"data": np.zeros(SHAPE, "i4"), "chunks": SHAPE, "scaleoffset": 1},
}.items():
    ATTACKS.add(f"kernel: {name}", kernel(**dataset), "kernel:0|conv_3")


# Names and texts.
NAMES = {
    "..": "../conv_2/conv_2/kernel:0",
    "absolute": "/model_weights/conv_2/conv_2/kernel:0",
    "empty": "",
    "dot": "./conv_3/kernel:0",
    "slashes": "conv_3//kernel:0",
    "escape": "\x1b[31mred\x1b]0;title\x07",
    "markup": "[red]conv[/red] <script>alert(1)</script>",
    "bidi": "\u202egnp.exe",
    "newline": "a\nerror: none",
    "10 MB": "n" * 10 * 2**20,
    "1 MB": "n" * 2**20,
    "unicode": "é" * 600,
}
for name, text in NAMES.items():

    def rename(_: h5py.File, group: h5py.Group, text: str = text) -> None:
        large_attribute(group["conv_3"], "weight_names", text)

    ATTACKS.add(f"name of an array: {name}", changed(rename), None)

    def rename_layer(_: h5py.File, group: h5py.Group, text: str = text) -> None:
        group.attrs.create("layer_names", ["conv_1", text], dtype=h5py.string_dtype())

    ATTACKS.add(f"name of a layer: {name}", changed(rename_layer), None)
for name, value in {
    "numbers": np.arange(5.0),
    "a number": 3,
    "references": h5py.ref_dtype,
    "sequences": h5py.vlen_dtype(np.int32),
    "compound": np.zeros(2, [("a", "i4")]),
    "not UTF-8": np.array([b"conv_\xff\xfe"]),
    "NUL": np.array([b"conv\x00_1"]),
    "empty": h5py.Empty("S1"),
    "large": np.zeros((8000,), "S8"),
}.items():

    def attribute(file: h5py.File, group: h5py.Group, value: Any = value) -> None:
        for node, key in ((group, "layer_names"), (group["conv_1"], "weight_names")):
            del node.attrs[key]
            if isinstance(value, np.dtype):
                kind = h5py.h5t.py_create(value, logical=True)
                h5py.h5a.create(node.id, key.encode(), kind, h5py.h5s.create_simple((3,)))
            else:
                node.attrs[key] = value

    ATTACKS.add(f"layer_names: {name}", changed(attribute), None)
for key in ("model_config", "keras_version"):
    for name, value in {"number": 3, "list": ["a", "b"], "bytes": np.bytes_(b"\xff\xfe{")}.items():
        ATTACKS.add(
            f"attribute {key}: {name}",
            changed(
                lambda file, group, key=key, value=value: [
                    n.attrs.__setitem__(key, value) for n in (file, group)
                ]
            ),
            key,
        )
ATTACKS.add(
    "duplicate layers",
    changed(lambda _, g: g.attrs.__setitem__("layer_names", ["a", "a"])),
    "named twice",
)
ATTACKS.add(
    "no layers",
    changed(lambda _, g: g.attrs.__setitem__("layer_names", np.zeros(0))),
    r"missing conv_1 \(kernel, bias\)",
)
ATTACKS.add("a missing array", changed(lambda _, g: g.__delitem__(KERNEL)), "found nothing")
ATTACKS.add("a missing layer", changed(lambda _, g: g.__delitem__("conv_3")), "found nothing")
ATTACKS.add(
    "a dataset for a group",
    changed(lambda f, g: (f.__delitem__("model_weights"), f.__setitem__("model_weights", 1))),
    "expected a group",
)
ATTACKS.add(
    "a type for a group",
    changed(lambda _, g: (g.__delitem__("conv_3"), g.__setitem__("conv_3", np.dtype("f4")))),
    "something else",
)


@ATTACKS("a pickle", "a pickle|a text file")
def pickled(folder: Path) -> Path:
    path = folder / "net.pkl"
    path.write_bytes(b"cos\nsystem\n(S'touch " + str(folder / CANARY).encode() + b"'\ntR.")
    return path


@ATTACKS("a model whose maps take gigabytes", "at most 2,048 channels", heavy=True)
def wide(folder: Path) -> Path:
    from dataclasses import replace

    sizes = replace(SMALL, channels=(20_000, 1, 1, 1))
    return write_keras_file(folder / "net.h5", sizes, random_weights(sizes))


for kept in (8, 9, 64, 100, 1000, 2000, 5000, 20_000):

    def truncated(folder: Path, kept: int = kept) -> Path:
        path = sound(folder)
        path.write_bytes(path.read_bytes()[:kept])
        return path

    ATTACKS.add(f"cut off after {kept} bytes", truncated, "damaged|truncated")


@ATTACKS("a heap on which the HDF5 library never stops", "longer than allowed", heavy=True)
def endless_heap(folder: Path) -> Path:
    """Free space of size 0 on the file's heap of texts: the library steps on by 0 for ever."""
    path = sound(folder)
    content = bytearray(path.read_bytes())
    start = 0
    while (start := content.find(b"GCOL", start)) >= 0:
        # The first object's header: index 0 means free space; its size is 0.
        content[start + 16 : start + 32] = bytes(16)
        start += 4
    path.write_bytes(content)
    return path
