"""What a person types becomes a validated configuration, or one clear sentence."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import tomli_w

from seewhy.config import CAM_METHODS, SearchConfig, StudyConfig, load_config, training_config
from seewhy.errors import ConfigError, near_names
from seewhy.explanation.methods.registry import METHODS


def test_a_source_alone_has_the_defaults() -> None:
    config = load_config("pictures/of pets")
    assert config.name == "of pets"
    assert config.data.source == "pictures/of pets"
    assert [b.name for b in config.backbone] == ["tf_efficientnet_lite0"]
    assert (config.seed, config.device, config.input.size) == (0, "auto", None)
    assert load_config("some/cifar_train.npz").name == "cifar_train"
    assert load_config("cifar10.2").data.source == "cifar10.2"


def test_the_paper_preset_fixes_what_the_paper_fixes() -> None:
    config = load_config("paper")
    assert [b.name for b in config.backbone] == ["resnet50", "inception_v3", "vgg16"]
    assert (config.data.source, config.data.validation) == ("cifar10.2", 0.1)
    assert (config.adaptation.patience, config.finetuning.patience) == (5, 5)
    assert (config.finetuning.open, config.finetuning.learning_rate_factor) == (0.5, 0.1)
    assert config.baseline.words == {"deer": "bovid"}
    assert config.input.augmentations == ()
    # All trials, and their best head in any case.
    assert (config.search.trials, config.search.patience, config.search.accept) == (35, 0, "always")


@pytest.mark.parametrize(
    ("setting", "trials"),
    [
        ("search.sampler=tpe", "search.trials"),
        ("search.storage=sqlite:///x.db", "search.trials"),
        ("search.mixup=[0, 0.1]", "search.finetuning_trials"),
    ],
)
def test_settings_of_a_search_that_is_off_are_refused(setting: str, trials: str) -> None:
    key = setting.partition("=")[0].removeprefix("search.")
    sentence = f"{key} has no effect without trials; say how many with {trials}"
    with pytest.raises(ConfigError, match=sentence):
        load_config("photos", settings=[setting])
    assert load_config("photos", settings=[setting, f"{trials}=0"])
    assert load_config("photos", settings=[setting, f"{trials}=9"])


def test_every_key_of_a_search_belongs_to_one_of_the_two() -> None:
    keys = {*training_config._OF_HEADS, *training_config._OF_FINETUNING}
    assert keys == SearchConfig.model_fields.keys() - {"trials", "finetuning_trials"}


def test_overrides_win_in_their_order() -> None:
    config = load_config(
        "demo",
        test="elsewhere",
        backbones=["resnet18", "vgg11"],
        seed=4,
        device="cpu",
        settings=["seed=5", "head.units=[8, 4]", "input.augmentation=crop+flip", "name = mine"],
    )
    assert (config.seed, config.device, config.name) == (5, "cpu", "mine")
    assert config.head.units == (8, 4)
    assert config.input.augmentations == ("crop", "flip")
    assert [b.name for b in config.backbone] == ["resnet18", "vgg11"]
    assert config.data.test == "elsewhere"


def test_a_toml_file_and_what_is_written_of_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        '[data]\nsource = "x"\n[[backbone]]\nname = "resnet18"\nweights = "none"\n'
        '[baseline.words]\ndeer = "bovid"\n',
        "utf-8",
    )
    config = load_config(str(path))
    assert (config.name, config.data.source, config.backbone[0].weights) == ("mine", "x", "none")
    written = tomllib.loads(tomli_w.dumps(config.model_dump(exclude_none=True)))
    assert StudyConfig.model_validate(written) == config


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (["head.dropuot=0.1"], r"unknown key 'head.dropuot'; did you mean head.dropout"),
        (["sed=1"], r"unknown key 'sed'; did you mean seed"),
        (["head.dropout=2"], r"head.dropout: input should be less than 1, but got 2"),
        (["head.units=[0]"], r"head.units.0: input should be greater than or equal to 1"),
        (
            ["input.augmentation=blur"],
            r"expected 'none', 'light', 'strong' or names of crop",
        ),
        (
            ["finetuning.batch_size=1"],
            r"expected a whole number of at least 2, or 'head', but got 1",
        ),
        (["finetuning.batch_size=tail"], r"or 'head', but got 'tail'"),
        (
            ["finetuning.learning_rate=0"],
            r"expected a number above 0, at most 1, or 'auto', but got 0",
        ),
        (["finetuning.learning_rate=fast"], r"or 'auto', but got 'fast'"),
        (["finetuning.learning_rate=nan"], r"or 'auto', but got nan"),
        (["finetuning.batch_size=true"], r"at least 2, or 'head', but got True"),
        (["finetuning.augmentation=cutout"], r"should be 'none', 'erasing' or 'focus', but got"),
        (["precision=float8"], r"precision: input should be 'auto', 'float32' or 'bfloat16'"),
        (["name=a/b"], r"name: string should match pattern"),
        (["seed"], r"expected --set key=value, but got 'seed'"),
        (["device=tpu"], r"device: string should match"),
        (["seed.x=1"], r"seed"),
    ],
)
def test_what_is_wrong_is_named(settings: list[str], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence) as caught:
        load_config("demo", settings=settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"name = ", "not a TOML file"),
        (b"\xff\xfe", "not a TOML file"),
        (b"[[backbone]]\nweights = 'none'\n", "backbone.0.name: field required"),
        (b"backbone = []\n", "backbone: tuple should have at least 1 item"),
        (b"[trainer]\ntrials = 5\n", "unknown key 'trainer'"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=sentence) as caught:
        load_config(str(path))
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such config file"):
        load_config(str(tmp_path / "none.toml"))


def test_near_names() -> None:
    assert near_names("resnet5", ["resnet50", "vgg16"]) == "; did you mean resnet50?"
    assert near_names("ab", ["abc", "abd"]) in (
        "; did you mean abd or abc?",
        "; did you mean abc or abd?",
    )
    assert near_names("zzz", ["abc"]) == ""


def test_the_documented_configuration_is_the_default_one() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"
    text = page.read_text("utf-8").split("```toml\n")[1].split("```")[0]
    documented = StudyConfig.model_validate(tomllib.loads(text))
    assert documented == StudyConfig()
    # Every key has its line, those without a default commented out.
    for section, field in StudyConfig.model_fields.items():
        keys = getattr(field.annotation, "model_fields", {section: None})
        assert all(f"{key} =" in text or f"[[{key}]]" in text for key in keys), section


def test_every_method_of_a_layer_behind_the_cut_is_known() -> None:
    # These look at the pixels, or at attention, which a traced tail does not call.
    elsewhere = {name for name, m in METHODS.items() if m.needs in ("image gradients", "attention")}
    assert elsewhere == {"guidedgradcam", "legrad"}
    assert set(CAM_METHODS) == METHODS.keys() - elsewhere


def test_the_explanation_is_as_it_was_asked_for() -> None:
    settings = ["explanation.method=layercam", 'explanation.layer=["a.b", "last", "a.b"]']
    explanation = load_config("demo", settings=settings).explanation
    assert (explanation.method, explanation.layers) == ("layercam", ("a.b", "last"))
    chosen = StudyConfig().explanation
    assert (chosen.method, chosen.layers, chosen.choice_images) == ("auto", ("auto",), 24)
    paper = load_config("paper").explanation
    assert (paper.method, paper.layers) == ("gradcam", ("last",))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["method=gradcamm"], r"explanation\.method: expected auto or one of gradcam, .* did you "),
        (["method=legrad"], r"explanation\.method: expected auto or one of gradcam, "),
        (['layer=["a", "auto"]'], r"explanation\.layer: expected auto alone, .* is called last"),
        (["choice_images=9"], r"explanation\.choice_images: expected 0 or at least 10, but got 9"),
        (["faithfulness=-1"], r"explanation\.faithfulness: .*greater than or equal to 0"),
        (["layer=[]"], r"explanation\.layer"),
        (["method=cam"], "expected a linear head at the last map"),
    ],
)
def test_a_wrong_explanation_is_named(settings: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config("demo", settings=[f"explanation.{setting}" for setting in settings])


def test_cam_goes_with_a_linear_head() -> None:
    linear = ["explanation.method=cam", "head.units=[]", "search.trials=0"]
    assert load_config("demo", settings=linear).explanation.method == "cam"
    with pytest.raises(ConfigError, match="expected a linear head"):
        load_config("demo", settings=[*linear, "explanation.layer=blocks.6"])
    last = load_config("demo", settings=[*linear, "explanation.layer=last"])
    assert last.explanation.layers == ("last",)


@pytest.mark.parametrize("text", ["sensitivity=0.95", " sensitivity = 95e-2 "])
def test_an_operating_point_is_a_measure_and_a_value(text: str) -> None:
    config = load_config("demo", settings=[f"evaluation.operating_point={text}"])
    assert config.evaluation.target == ("sensitivity", 0.95)
    assert load_config("demo").evaluation.target is None


@pytest.mark.parametrize(
    "text", ["sensitivity", "recall=0.9", "precision=0", "precision=1.1", "specificity=1e", "0.9"]
)
def test_a_wrong_operating_point_is_one_sentence(text: str) -> None:
    message = (
        "demo: evaluation.operating_point: expected sensitivity=, specificity= or precision= and a "
        f"number above 0 and at most 1, such as 'sensitivity=0.95', but got '{text}'"
    )
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        load_config("demo", settings={"evaluation.operating_point": text})


def test_class_weights_are_read_from_the_command_line() -> None:
    for text, expected in (("balanced", "balanced"), ("{ dog = 2 }", {"dog": 2.0})):
        config = load_config("demo", settings=[f"head.class_weights={text}"])
        assert config.head.class_weights == expected


@pytest.mark.parametrize(
    "value", ["even", "{}", "{ dog = 0 }", "{ dog = -1 }", "{ dog = true }", "{ dog = 'x' }", "2"]
)
def test_wrong_class_weights_are_one_sentence(value: str) -> None:
    message = (
        "demo: head.class_weights: expected 'none', 'balanced' or a number above 0 per class, such "
        "as { defect = 5.0 }, but got "
    )
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}") as caught:
        load_config("demo", settings=[f"head.class_weights={value}"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("written", ["0.333", '"0.333"', "'0.333'"])
def test_a_class_may_have_dots_in_its_name(written: str) -> None:
    settings = [f"baseline.words.{written}=crack", f"head.class_weights.{written}=2.5"]
    config = load_config("demo", settings=settings)
    assert config.baseline.words == {"0.333": "crack"}
    assert config.head.class_weights == {"0.333": 2.5}


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("input.size=224", 224),
        ("input.size=[192,256]", (192, 256)),
        ("input.size=[96, 96]", 96),
    ],
)
def test_an_input_has_one_side_or_two(setting: str, expected: object) -> None:
    config = load_config("demo", settings=[setting])
    assert config.input.size == expected
    assert load_config(config.model_dump(exclude_none=True)).input.size == expected


@pytest.mark.parametrize("value", ["[96]", "[96,96,96]", "[16,96]", "2000", "1e2", "'a'", "[]"])
def test_an_input_of_no_size_is_named(value: str) -> None:
    with pytest.raises(
        ConfigError, match=r"input\.size: expected a side of 32 … 1024 pixels, or \["
    ):
        load_config("demo", settings=[f"input.size={value}"])


@pytest.mark.parametrize(
    "settings",
    [
        ["head.class_weights=balanced", "head.sampler=balanced"],
        ["head.class_weights=balanced", "head.logit_adjustment=1"],
        ["head.sampler=balanced", "head.logit_adjustment=0.5"],
    ],
)
def test_classes_are_balanced_once(settings: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config("demo", settings=settings)
    named = [one.removeprefix("head.").partition("=")[0] for one in settings]
    assert str(caught.value).startswith(
        "demo: head: expected one correction for classes of unequal sizes, but got "
    )
    assert all(name in str(caught.value) for name in named)
    assert "\n" not in str(caught.value)
    # Costs of one's own are no such correction.
    own = load_config("demo", settings=["head.class_weights={ dog = 2 }", settings[1]])
    assert own.head.class_weights == {"dog": 2.0}


@pytest.mark.parametrize("setting", ["logit_adjustment=-1", "logit_adjustment=inf", "sampler=even"])
def test_wrong_sampler_and_adjustment_are_one_sentence(setting: str) -> None:
    key = setting.partition("=")[0]
    with pytest.raises(ConfigError, match=f"^demo: head.{key}: input should be ") as caught:
        load_config("demo", settings=[f"head.{setting}"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("metric", ["quadratic_kappa", "mean_absolute_error"])
def test_metrics_of_ordered_classes_need_an_order(metric: str) -> None:
    message = (
        f"demo: the configuration: expected ordered classes for head.metric = '{metric}': set "
        "data.ordered to true, or to the names of the classes from the lowest to the highest"
    )
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        load_config("demo", settings=[f"head.metric={metric}"])
    config = load_config("demo", settings=[f"head.metric={metric}", "data.ordered=true"])
    assert config.head.metric == metric
    with pytest.raises(ConfigError, match=r"^demo: head.metric: input should be 'accuracy', "):
        load_config("demo", settings=["head.metric=recall"])
