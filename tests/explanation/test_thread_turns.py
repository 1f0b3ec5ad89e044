"""Threads that share a model find what one thread finds, and leave what one thread leaves."""

from __future__ import annotations

import copy
import gc
import pickle
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, _cur_sdpa_kernel_backends

from seewhy import explain
from seewhy.errors import ConfigError
from seewhy.explanation.engine import record, undisturbed
from seewhy.explanation.layer_choice import choose_layer
from seewhy.explanation.layers import list_layers
from seewhy.explanation.measures.faithfulness import measure_faithfulness
from seewhy.explanation.measures.randomisation import follow
from seewhy.explanation.measures.replay import Replay
from seewhy.explanation.measures.sanity import check_sanity
from seewhy.explanation.thread_turns import evaluating, exclusive, math_attention

IMAGES = torch.randn(6, 3, 12, 12, generator=torch.Generator().manual_seed(1))
SECONDS = 20.0


class Meeting(nn.Module):
    """Calls a function in the middle of a forward pass, once."""

    def __init__(self) -> None:
        super().__init__()
        self.then: Callable[[], object] | None = None

    def forward(self, values: Tensor) -> Tensor:
        if self.then is not None:
            then, self.then = self.then, None
            then()
        return values


def _network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 5, 3, padding=1),
        Meeting(),
        nn.ReLU(),
        Meeting(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(20, 4),
    )


def _transformer() -> nn.Module:
    torch.manual_seed(0)
    sizes = {"img_size": 12, "patch_size": 3, "depth": 2, "embed_dim": 8, "num_heads": 2}
    model = timm.create_model("vit_tiny_patch16_224", num_classes=4, drop_rate=0.3, **sizes)
    nn.init.normal_(model.head.weight)
    return model


def _state(model: nn.Module) -> list[object]:
    return [
        {name: tensor.clone() for name, tensor in model.state_dict().items()},
        [module.training for module in model.modules()],
        [p.requires_grad for p in model.parameters()],
        [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()],
    ]


@pytest.fixture
def _hasty() -> Iterator[None]:
    """Have threads change places as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def _elsewhere(work: Callable[[], Any]) -> Future[Any]:
    """Start work in a thread of its own."""
    pool = ThreadPoolExecutor(1)
    started = pool.submit(work)
    pool.shutdown(wait=False)
    return started


def _calls(model: nn.Module) -> list[Callable[[], object]]:
    """Six calls that have nothing to do with each other."""

    def maps(method: str, images: Tensor, **options: Any) -> Callable[[], object]:
        return lambda: explain(model, images, method=method, **options).maps

    def depths() -> list[float]:
        found = check_sanity(model, IMAGES[:2], levels=3, draws=10).methods["gradcam"]
        return [depth.spearman.value for depth in found.depths]

    classes = torch.zeros(2, dtype=torch.long)
    spread = torch.rand(2, 3, 3, generator=torch.Generator().manual_seed(2))
    settings = {"steps": 2, "random_maps": 1, "road_shares": (), "draws": 10}
    return [
        maps("gradcam", IMAGES, classes="all"),
        maps("gradcam++", IMAGES[:1]),
        maps("ablationcam", IMAGES[1:3]),
        lambda: [layer.shape for layer in list_layers(model, IMAGES[:1])],
        depths,
        lambda: measure_faithfulness(model, IMAGES[:2], spread, classes, **settings).measures,
    ]


@pytest.mark.usefixtures("_hasty")
@pytest.mark.parametrize("network", [_network, _transformer])
def test_six_threads_find_what_one_finds(network: Callable[[], nn.Module]) -> None:
    model = network().train()
    before = _state(model)
    expected = [call() for call in _calls(network().train())]
    start = threading.Barrier(6)

    def work(first: int) -> list[tuple[int, object]]:
        calls = _calls(model)
        start.wait()
        order = [(first + step) % 6 for step in range(6)]
        return [(index, calls[index]()) for index in order]

    with ThreadPoolExecutor(6) as pool:
        for found in pool.map(work, range(6)):
            for index, value in found:
                torch.testing.assert_close(value, expected[index], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(_state(model), before, rtol=0, atol=0)


@pytest.mark.parametrize("place", [4, 6])
@pytest.mark.parametrize("method", ["gradcam", "gradcam++", "ablationcam", "eigencam"])
def test_a_plain_pass_of_another_thread_is_no_part_of_an_explanation(
    method: str, place: int
) -> None:
    model = _network().eval()
    others = IMAGES.flip(0)
    expected = explain(model, IMAGES, layer="5", method=method)
    plain = model(others).detach()
    # The layer runs in the other thread before or after it runs in this one.
    model[place].then = lambda: found.append(_elsewhere(lambda: model(others)).result(SECONDS))
    found: list[Tensor] = []
    answer = explain(model, IMAGES, layer="5", method=method)
    torch.testing.assert_close(found[0], plain)
    torch.testing.assert_close(answer.maps, expected.maps, rtol=0, atol=0)
    torch.testing.assert_close(answer.logits, expected.logits, rtol=0, atol=0)


def test_legrad_does_not_read_another_threads_attention() -> None:
    model = _transformer().eval()
    expected = explain(model, IMAGES, method="legrad").maps
    model.blocks[1].drop_path2 = meeting = Meeting()
    rounds = []

    def meet() -> None:
        _elsewhere(lambda: model(IMAGES.flip(0))).result(SECONDS)
        rounds.append(1)
        if len(rounds) < 3:
            meeting.then = meet

    meeting.then = meet
    maps = explain(model, IMAGES, method="legrad").maps
    assert len(rounds) > 1
    torch.testing.assert_close(maps, expected, rtol=0, atol=0)


def test_the_chosen_layer_does_not_depend_on_another_threads_pass() -> None:
    expected = choose_layer(_network(), IMAGES[:1])
    model = _network().eval()
    model[4].then = lambda: _elsewhere(lambda: model(IMAGES[:1])).result(SECONDS)
    assert choose_layer(model, IMAGES[:1]) == choose_layer(model, IMAGES[:1]) == expected
    model[4].then = lambda: _elsewhere(lambda: model(IMAGES[:1])).result(SECONDS)
    seen = [layer.name for layer in list_layers(model, IMAGES[:1])]
    assert seen == [layer.name for layer in list_layers(_network(), IMAGES[:1])]
    model[4].then = lambda: _elsewhere(lambda: model(IMAGES[:1])).result(SECONDS)
    with evaluating(model), torch.no_grad():
        assert follow(model, IMAGES[:1]) == follow(model, IMAGES[:1])


def test_answers_from_memory_are_for_the_thread_that_keeps_them() -> None:
    model = nn.Sequential(Meeting(), *_network()).eval()
    with torch.no_grad():
        course = follow(model, IMAGES)
        end = 1 + max(course.left.values())
        expected = model(IMAGES.flip(0))
        replay = Replay(model, IMAGES, course, [end], ())
        inside, go_on = threading.Event(), threading.Event()

        def waiting() -> None:
            inside.set()
            go_on.wait(SECONDS)

        def other() -> Tensor:
            model[0].then = waiting
            with torch.no_grad():
                return model(IMAGES)

        def meet() -> None:
            found.append(_elsewhere(other))
            assert inside.wait(SECONDS)

        found: list[Future[Tensor]] = []
        with replay.before(end):
            # Other images than those remembered; then another thread asks for these.
            model[0].then = meet
            torch.testing.assert_close(model(IMAGES.flip(0)), expected, rtol=0, atol=0)
            go_on.set()
            found[0].result(SECONDS)


def test_a_second_thread_waits_and_finds_the_model_as_it_was() -> None:
    model = _network().train()
    head = nn.Sequential(model[0], nn.Flatten(), nn.Linear(576, 2))  # shares a submodule
    apart = _network().train()
    order: list[str] = []

    def holds(other: nn.Module, name: str) -> None:
        with exclusive(other):
            order.append(name)

    with evaluating(model):
        waiting = [_elsewhere(lambda m=m: holds(m, "waited")) for m in (model, head)]
        _elsewhere(lambda: holds(apart, "apart")).result(SECONDS)
        order.append("held")
    for one in waiting:
        one.result(SECONDS)
    assert order == ["apart", "held", "waited", "waited"]


def test_an_error_lets_the_next_thread_in() -> None:
    model = _network().train()

    def failing() -> None:
        # Every time: a pass of one image that fails is tried again with all.
        model[4].then = failing
        raise ArithmeticError("on purpose")

    model[4].then = failing
    with pytest.raises(ArithmeticError):
        explain(model, IMAGES)
    model[4].then = None
    expected = explain(_network(), IMAGES).maps
    found = _elsewhere(lambda: explain(model, IMAGES).maps).result(SECONDS)
    torch.testing.assert_close(found, expected)
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize("method", ["gradcam", "ablationcam"])
def test_an_explanation_inside_another_changes_neither(method: str) -> None:
    model = _network().train()
    outer = explain(model, IMAGES, layer="5", method=method).maps
    inner = explain(model, IMAGES[:2], [3, 3]).maps
    before = _state(model)
    found: list[Tensor] = []
    model[6].then = lambda: found.append(explain(model, IMAGES[:2], [3, 3]).maps)
    maps = explain(model, IMAGES, layer="5", method=method).maps
    torch.testing.assert_close(maps, outer, rtol=0, atol=0)
    torch.testing.assert_close(found[0], inner, rtol=0, atol=0)
    torch.testing.assert_close(_state(model), before, rtol=0, atol=0)


def test_threads_that_would_wait_for_each_other_for_ever_are_told() -> None:
    first, second = _network(), _network()
    both = threading.Barrier(2)

    def crosswise(one: nn.Module, other: nn.Module) -> str:
        with exclusive(one):
            both.wait(SECONDS)
            try:
                with exclusive(other):
                    return "in"
            except ConfigError as error:
                return str(error)

    ended = [_elsewhere(lambda p=p: crosswise(*p)) for p in ((first, second), (second, first))]
    told, other = sorted(one.result(SECONDS) for one in ended)[::-1]
    assert other == "in"
    assert told.endswith("do not explain one model inside the explanation of another")


def test_training_meanwhile_is_named() -> None:
    model = _network().eval()
    model[4].then = lambda: _elsewhere(model.train).result(SECONDS)
    with pytest.raises(ConfigError, match="switched to training mode while it was explained"):
        explain(model, IMAGES)
    # It is the other thread's to switch back.
    assert all(module.training for module in model.modules())


def test_a_module_that_stays_in_training_mode_is_no_training() -> None:
    class Always(nn.Sequential):
        def train(self, mode: bool = True) -> Always:
            return super().train(True)

    model = Always(*_network()[:4], nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 2))
    assert explain(model, IMAGES).maps.shape == (6, 1, 12, 12)


def test_a_held_model_can_be_copied_pickled_and_freed() -> None:
    model = _network()
    with exclusive(model):
        copied = copy.deepcopy(model)
        read = pickle.loads(pickle.dumps(model))
        # Copies are models of their own.
        for other in (copied, read):
            _elsewhere(lambda other=other: explain(other, IMAGES)).result(SECONDS)
    explain(model, IMAGES)
    gone = weakref.ref(model)
    del model, other
    gc.collect()
    assert gone() is None


def test_the_kernel_of_attention_is_the_processes_and_comes_back() -> None:
    before = _cur_sdpa_kernel_backends()
    entered, leave = threading.Event(), threading.Event()

    def work() -> list[SDPBackend]:
        with math_attention():
            entered.set()
            leave.wait(SECONDS)
            return _cur_sdpa_kernel_backends()

    with math_attention():
        other = _elsewhere(work)
        assert entered.wait(SECONDS)
    leave.set()
    assert other.result(SECONDS) == [SDPBackend.MATH]
    assert _cur_sdpa_kernel_backends() == before


def test_hooks_of_explanations_in_the_middle_of_a_pass_are_not_the_networks() -> None:
    model, images = _network().eval(), IMAGES[:2]
    kept: list[object] = []

    def recorded(then: Callable[[], object]) -> bool:
        model[6].then = then
        with undisturbed(model, images):
            return record(model, images, ("5",), None)[1]["5"].hooked

    inner = copy.deepcopy(model)
    assert not recorded(lambda: explain(model, images))
    assert not recorded(lambda: _elsewhere(lambda: explain(inner, images)).result(SECONDS))
    assert recorded(lambda: kept.append(inner.register_forward_hook(lambda *given: None)))
