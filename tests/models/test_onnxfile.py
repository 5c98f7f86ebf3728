"""ONNX folders: what is reported, and everything that may not leave the folder or load code."""

import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from onnx import AttributeProto, ModelProto, StringStringEntryProto, TensorProto, helper

from models.errors import BadModel
from models.formats import check_file
from models.onnxfile import read_onnx
from tests.support.onnx_maker import embedder_model, tiny_embedder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_embedder(tmp_path / "tiny")


def refusal(path: Path) -> str:
    start = time.perf_counter()
    with pytest.raises(BadModel) as caught:
        check_file(path)
    assert time.perf_counter() - start < 2
    return str(caught.value)


def outside_tensor(**entries: str) -> TensorProto:
    """A tensor of 4 floats whose data lies in another file."""
    tensor = TensorProto(name="far", data_type=TensorProto.FLOAT, dims=[4])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in entries.items():
        tensor.external_data.append(StringStringEntryProto(key=key, value=value))
    return tensor


def save(folder: Path, change: Callable[[ModelProto], None]) -> Path:
    model = embedder_model(277)
    change(model)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return folder


def save_with(folder: Path, tensor: TensorProto) -> Path:
    return save(folder, lambda model: model.graph.initializer.append(tensor))


def test_a_sound_folder_gives_its_facts(folder: Path) -> None:
    model = read_onnx(folder)
    assert [port.name for port in model.inputs] == [
        "input_ids",
        "attention_mask",
        "token_type_ids",
    ]
    assert model.outputs[0].dims == (None, None, 32)
    assert model.pooling == "mean"
    facts = model.facts
    assert (facts.kind, facts.name, facts.architecture) == ("onnx", "tiny", "bert")
    assert (facts.embedding, facts.embedding_length, facts.context_length) == (True, 32, 128)
    assert (facts.quantisation, facts.tokenizer) == ("F32", "WordPiece")
    assert facts.parameters is not None
    assert facts.parameters > 16_000


def test_the_folder_the_file_and_a_nested_file_are_the_same_model(tmp_path: Path) -> None:
    flat = tiny_embedder(tmp_path / "flat")
    nested = tiny_embedder(tmp_path / "nested", nested=True)
    assert read_onnx(flat).file == read_onnx(flat / "model.onnx").file
    assert read_onnx(nested).file == nested / "onnx" / "model.onnx"
    assert read_onnx(nested / "onnx" / "model.onnx").tokenizer == nested / "tokenizer.json"
    (flat / "model.onnx").rename(flat / "other.onnx")
    assert read_onnx(flat).file == flat / "other.onnx"


def test_weights_in_another_file_of_the_folder_are_counted(tmp_path: Path) -> None:
    folder = tiny_embedder(tmp_path / "far", external="weights.bin")
    model = read_onnx(folder)
    weights = folder / "weights.bin"
    assert model.external == {weights: weights.stat().st_size}
    assert model.facts.size_bytes == (folder / "model.onnx").stat().st_size + weights.stat().st_size


@pytest.mark.native
def test_onnxruntime_runs_what_the_maker_writes_and_padding_changes_nothing(folder: Path) -> None:
    import numpy as np
    import onnxruntime
    from tokenizers import Tokenizer

    session = onnxruntime.InferenceSession(str(read_onnx(folder).file))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def run(text: str) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
        found = tokenizer.encode(text)
        feeds = (found.ids, found.attention_mask, found.type_ids)
        names = ("input_ids", "attention_mask", "token_type_ids")
        inputs = {name: np.array([row]) for name, row in zip(names, feeds, strict=True)}
        return np.asarray(session.run(None, inputs)[0])

    short = run("the people know")
    tokenizer.enable_padding(length=20)
    assert np.allclose(short[0], run("the people know")[0, : short.shape[1]], atol=1e-5)


@pytest.mark.parametrize(
    "location",
    ["../secret.bin", "/etc/passwd", "a/../../secret.bin", "..", ".", "", "a\\..\\b", "C:secret",
     "*/_ORT_MEM_ADDR_/*", "a\0b", "x" * 600],
)  # fmt: skip
def test_data_outside_the_folder_is_refused(folder: Path, location: str) -> None:
    (folder.parent / "secret.bin").write_bytes(b"\0" * 64)
    text = refusal(save_with(folder, outside_tensor(location=location)))
    assert "outside its folder" in text
    assert text.isprintable()


def test_a_link_that_leaves_the_folder_is_refused_and_one_inside_is_not(folder: Path) -> None:
    (folder.parent / "secret.bin").write_bytes(b"\0" * 64)
    (folder / "link.bin").symlink_to("../secret.bin")
    save_with(folder, outside_tensor(location="link.bin"))
    assert "outside its folder" in refusal(folder)
    (folder / "link.bin").unlink()
    (folder / "real.bin").write_bytes(b"\0" * 16)
    (folder / "link.bin").symlink_to("real.bin")
    assert read_onnx(folder).external == {folder / "link.bin": 16}


def test_a_linked_folder_and_a_circle_of_links_are_refused(folder: Path) -> None:
    elsewhere = folder.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "w.bin").write_bytes(b"\0" * 64)
    (folder / "sub").symlink_to(elsewhere)
    assert "outside its folder" in refusal(save_with(folder, outside_tensor(location="sub/w.bin")))
    (folder / "a.bin").symlink_to("a.bin")
    assert refusal(save_with(folder, outside_tensor(location="a.bin")))


@pytest.mark.parametrize(
    ("entries", "word"),
    [
        ({"location": "none.bin"}, "missing"),
        ({"location": "short.bin"}, "asks for bytes up to 16"),
        ({"location": "long.bin", "offset": "1020"}, "asks for bytes up to 1,036"),
        ({"location": "long.bin", "offset": "-1"}, "no place"),
        ({"location": "long.bin", "offset": "99999999999999999999"}, "no place"),
        ({"location": "long.bin", "length": "4"}, "shape needs 16"),
        ({"location": "long.bin", "length": str((1 << 62) - 1)}, "shape needs 16"),
        ({"location": "pipe"}, "pipe"),
        ({"location": "sub"}, "folder"),
        ({"location": "long.bin", "surprise": "1"}, "unknown way"),
        ({}, "outside its folder"),
    ],
)
def test_data_that_is_not_there_is_refused(
    folder: Path, entries: dict[str, str], word: str
) -> None:
    (folder / "short.bin").write_bytes(b"\0" * 15)
    (folder / "long.bin").write_bytes(b"\0" * 1024)
    (folder / "sub").mkdir()
    os.mkfifo(folder / "pipe")
    assert word in refusal(save_with(folder, outside_tensor(**entries)))


def hide_in_subgraph(model: ModelProto, tensor: TensorProto) -> None:
    inner = helper.make_graph([], "inner", [], [], [tensor])
    node = helper.make_node("If", ["c"], ["d"])
    node.attribute.append(AttributeProto(name="b", type=AttributeProto.GRAPH, g=inner))
    model.graph.node.append(node)


def hide_in_constant(model: ModelProto, tensor: TensorProto) -> None:
    node = helper.make_node("Constant", [], ["d"])
    node.attribute.append(AttributeProto(name="value", type=AttributeProto.TENSOR, t=tensor))
    model.graph.node.append(node)


def hide_in_lists(model: ModelProto, tensor: TensorProto) -> None:
    inner = helper.make_graph([], "inner", [], [], [tensor])
    node = helper.make_node("Odd", [], ["d"])
    node.attribute.append(AttributeProto(name="v", graphs=[inner]))
    model.graph.node.append(node)


def hide_in_function(model: ModelProto, tensor: TensorProto) -> None:
    inner = helper.make_node("Constant", [], ["d"])
    inner.attribute.append(AttributeProto(name="value", tensors=[tensor]))
    opset = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("local", "F", [], ["d"], [inner], opset))


def hide_in_sparse(model: ModelProto, tensor: TensorProto) -> None:
    sparse = model.graph.sparse_initializer.add()
    sparse.indices.CopyFrom(tensor)


def hide_in_training(model: ModelProto, tensor: TensorProto) -> None:
    model.training_info.add().algorithm.initializer.append(tensor)


@pytest.mark.parametrize(
    "hide",
    [hide_in_subgraph, hide_in_constant, hide_in_lists, hide_in_function, hide_in_sparse,
     hide_in_training],
)  # fmt: skip
def test_a_tensor_is_found_wherever_it_hides(
    folder: Path, hide: Callable[[ModelProto, TensorProto], None]
) -> None:
    save(folder, lambda model: hide(model, outside_tensor(location="../secret.bin")))
    assert "outside its folder" in refusal(folder)


def test_operators_that_load_native_code_are_refused(folder: Path) -> None:
    for domain, name in (("evil", "Run"), ("com.microsoft", "EPContext"), ("pyop", "PyOp")):
        node = helper.make_node(name, ["input_ids"], ["x"], domain=domain)
        save(folder, lambda model, node=node: model.graph.node.append(node))  # type: ignore[misc]
        text = refusal(folder)
        assert name in text
        assert "native code" in text


def test_functions_that_the_file_defines_itself_are_allowed(folder: Path) -> None:
    def change(model: ModelProto) -> None:
        hide_in_function(model, helper.make_tensor("t", TensorProto.FLOAT, [1], [0.0]))
        model.graph.node.append(helper.make_node("F", [], ["x"], domain="local"))

    assert read_onnx(save(folder, change)).facts.embedding


def test_endless_nesting_is_refused(folder: Path) -> None:
    graph = helper.make_graph([], "g", [], [])
    for _ in range(25):
        node = helper.make_node("If", ["c"], ["d"])
        node.attribute.append(AttributeProto(name="b", type=AttributeProto.GRAPH, g=graph))
        graph = helper.make_graph([node], "g", [], [])
    save(folder, lambda model: model.graph.node.extend(graph.node))
    assert "nested" in refusal(folder)


@pytest.mark.parametrize(
    ("name", "text", "word"),
    [
        ("tokenizer.json", None, "tokenizer.json is not beside it"),
        ("tokenizer.json", b"", "tokenizer.json is not a usable model"),
        ("tokenizer.json", b"[]", "what it should be"),
        ("tokenizer.json", b'{"model": 3}', "what it should be"),
        ("tokenizer.json", b'{"model": {"type": "\xff"}}', "what it should be"),
        ("tokenizer.json", b'{"model": {}, "x": ' + b"[" * 99999, "nested|what it should be"),
        ("config.json", b"{", "config.json"),
        ("config.json", b'{"hidden_size": "big"}', "what it should be"),
        ("config.json", b" " * (1 << 20) + b"{}", "larger than"),
        ("1_Pooling/config.json", b'{"pooling_mode_cls_token": 3}', "what it should be"),
        ("1_Pooling/config.json",
         b'{"pooling_mode_cls_token": true, "pooling_mode_max_tokens": true}', "several kinds"),
    ],
)  # fmt: skip
def test_a_broken_file_beside_the_model_is_refused(
    folder: Path, name: str, text: bytes | None, word: str
) -> None:
    if text is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(text)
    assert any(part in refusal(folder) for part in word.split("|"))


def test_a_tokenizer_that_is_a_pipe_does_not_hang(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    os.mkfifo(folder / "tokenizer.json")
    assert "pipe" in refusal(folder)


def test_absurd_sizes_in_the_configuration_are_not_believed(folder: Path) -> None:
    (folder / "config.json").write_bytes(b'{"max_position_embeddings": -1, "vocab_size": 1000}')
    shutil.rmtree(folder / "1_Pooling")
    facts = read_onnx(folder).facts
    assert facts.context_length is None
    assert facts.vocabulary == 1000
    assert facts.embedding_length == 32
    assert facts.pooling is None


def test_a_model_with_scores_is_a_reranker(folder: Path) -> None:
    def change(model: ModelProto) -> None:
        model.graph.output[0].name = "logits"

    facts = read_onnx(save(folder, change)).facts
    assert (facts.embedding, facts.reranker) == (False, True)


@pytest.mark.parametrize(
    "data",
    [b"", b"\x08", b"\x08\x09", b"\x3a\x7f", b"\x0b", b"\x3a\x80", b"\xff" * 12, b"\0\0",
     b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x3a\0\x3a\0", b"\x3a\0", b"hello there"],
)  # fmt: skip
def test_what_is_no_onnx_message_is_refused(folder: Path, data: bytes) -> None:
    (folder / "model.onnx").write_bytes(data)
    assert refusal(folder)


def test_damaged_models_give_bad_model_or_facts_and_soon(folder: Path) -> None:
    rng = random.Random(5)
    sound = (folder / "model.onnx").read_bytes()
    start = sound.rindex(b"tiny-embedder")  # before it lie the nodes, after it the weights
    slowest, refused = 0.0, 0
    for _ in range(400):
        data = bytearray(sound)
        place = rng.choice((rng.randrange(start), rng.randrange(len(sound))))
        match rng.randrange(3):
            case 0:
                data[place] = rng.randrange(256)
            case 1:
                del data[place : place + rng.randrange(1, 20)]
            case 2:
                data[place:place] = rng.randbytes(rng.randrange(1, 20))
        (folder / "model.onnx").write_bytes(data)
        before = time.perf_counter()
        try:
            check_file(folder)
        except BadModel:
            refused += 1
        slowest = max(slowest, time.perf_counter() - before)
    assert slowest < 1
    assert refused > 100
